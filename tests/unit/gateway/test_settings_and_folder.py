"""The gateway's settings, and the folder of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.envoy.run_folder import PREFIX, run_folder
from gateway.settings import GatewaySettings
from services.kit.settings import SettingsError, read


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRUNKLINE_WORKERS", "nowhere"),
        ("TRUNKLINE_PUBLIC", "8080"),
        ("TRUNKLINE_FRONT_COUNT", "0"),
        ("TRUNKLINE_FRONT_PORT", "65536"),
        ("TRUNKLINE_RESOLVE_S", "0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_sentence(variable: str, value: str) -> None:
    with pytest.raises(SettingsError):
        read(GatewaySettings, {variable: value})


def test_a_run_folder_is_private_and_goes_with_its_run(tmp_path: Path) -> None:
    with run_folder(tmp_path) as path:
        assert path.stat().st_mode & 0o077 == 0
    assert not path.exists()


def test_a_run_folder_that_a_killed_run_left_is_removed_and_a_live_ones_is_not(tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / "lock").touch()
    with run_folder(tmp_path) as first, run_folder(tmp_path) as second:
        assert first.exists()
        assert second.exists()
        assert not left.exists()
