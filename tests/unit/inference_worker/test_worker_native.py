"""A worker without the native library says so, and what to do."""

from __future__ import annotations

import pytest

from services.inference_worker import native
from services.inference_worker.engine.native import library
from services.inference_worker.engine.native.layouts import VERSION


def test_a_missing_library_is_said_once_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def missing() -> str:
        raise library.NativeError("there is no native library for this installation")

    monkeypatch.setattr(library, "instruction_set", missing)
    assert native.find() is None
    (said,) = caplog.messages
    assert "Install a C++ compiler" in said


def test_a_library_that_is_there_is_described(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(library, "instruction_set", lambda: "amx")
    assert native.find() == native.Native("amx", VERSION)
