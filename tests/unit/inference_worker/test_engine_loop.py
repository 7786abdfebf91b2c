"""The engine's loop over a real pipe: one message a step, models in turn, a cancel before the next step."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.inference_worker.engine.backend import Backend, ServedModel
from services.inference_worker.engine.link import Link
from services.inference_worker.engine.loop import Loop
from services.inference_worker.engine.transformers_backend import TransformersBackend
from services.inference_worker.wire import (
    LENGTH,
    Cancel,
    Command,
    Embed,
    Event,
    Generate,
    Limits,
    Loaded,
    LoadFailed,
    LoadModel,
    Report,
    Sampling,
    Started,
    Unloaded,
    UnloadModel,
    decode_event,
    encode,
)
from tests.unit.inference_worker.tiny_models import bert, llama, prompt

LIMITS = Limits(cache_tokens=4_096)


class Pipe:
    """The worker's end, read in a blocking way: what comes first is known."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def send(self, command: Command) -> None:
        self._connection.sendall(encode(command))

    def receive(self) -> Event:
        (length,) = LENGTH.unpack(self._file.read(LENGTH.size))
        return decode_event(self._file.read(length))

    def report(self) -> Report:
        event = self.receive()
        assert isinstance(event, Report)
        return event

    def load(self, name: str, path: Path, task: Any = "generate") -> Event:
        self.send(LoadModel(name, str(path), task, "float32", limits=LIMITS))
        return self.receive()

    def close(self) -> None:
        self._file.close()
        self._connection.close()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return llama(tmp_path_factory.mktemp("llama")), bert(tmp_path_factory.mktemp("bert"))


@contextmanager
def engine(backend: Backend) -> Iterator[Pipe]:
    """Run an engine's loop on a thread; it must end when its pipe does."""
    ours, theirs = socket.socketpair()
    loop = threading.Thread(target=Loop(Link(theirs), backend).run)
    loop.start()
    pipe = Pipe(ours)
    assert isinstance(pipe.receive(), Started)
    yield pipe
    pipe.close()
    loop.join(10)
    theirs.close()
    assert not loop.is_alive()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with engine(TransformersBackend("cpu")) as pipe:
        yield pipe


def endless(number: int, model: str = "m") -> Generate:
    return Generate(number, model, prompt(4, number), Sampling(max_tokens=400, ignore_eos=True), accepted=0.0)


def test_a_step_is_one_message_for_everybody(pipe: Pipe, folders: tuple[Path, Path]):
    pipe.load("m", folders[0])
    for number in (1, 2, 3):
        pipe.send(endless(number))
    report = pipe.report()
    while len(report.outputs) < 3:
        report = pipe.report()
    assert [len(output.tokens) for output in report.outputs] == [1, 1, 1]
    assert report.load.running == 3


@dataclass
class Gated:
    """A model whose steps each wait for a permit."""

    model: ServedModel
    permits: threading.Semaphore

    @property
    def busy(self) -> bool:
        return self.model.busy

    def admit(self, request: Generate | Embed) -> None:
        self.model.admit(request)

    def cancel(self, request_id: int) -> bool:
        return self.model.cancel(request_id)

    def step(self) -> Report:
        self.permits.acquire()
        return self.model.step()


@dataclass
class GatedBackend:
    backend: Backend
    permits: threading.Semaphore

    def load(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
        model, loaded = self.backend.load(command)
        return Gated(model, self.permits), loaded

    def unload(self) -> None:
        self.backend.unload()


@pytest.mark.parametrize("tokens", [1, 3])
def test_a_cancel_takes_effect_within_one_step(folders: tuple[Path, Path], tokens: int):
    permits = threading.Semaphore(0)
    with engine(GatedBackend(TransformersBackend("cpu"), permits)) as pipe:
        pipe.load("m", folders[0])
        pipe.send(endless(1))
        made = 0
        while made < tokens:
            permits.release()
            made += sum(len(output.tokens) for output in pipe.report().outputs)
        # The loop waits inside its next step, which may be the request's last one.
        pipe.send(Cancel(1))
        permits.release()
        assert [output.id for output in pipe.report().outputs] in ([1], [])
        permits.release(2)
        pipe.send(endless(2))
        report = pipe.report()
        assert 1 not in {output.id for output in report.outputs}
        assert report.load.running <= 1
        assert report.load.free_cache_tokens >= LIMITS.cache_tokens - 404
        permits.release(100)


def test_models_with_work_take_turns(pipe: Pipe, folders: tuple[Path, Path]):
    pipe.load("one", folders[0])
    pipe.load("two", folders[0])
    pipe.send(endless(1, "one"))
    pipe.send(endless(2, "two"))
    names = [pipe.report().model for _ in range(21)]
    first = names.index("two")
    assert all(left != right for left, right in zip(names[first:], names[first + 1 :], strict=False))


def test_a_load_does_not_stop_a_stream(pipe: Pipe, folders: tuple[Path, Path]):
    pipe.load("one", folders[0])
    pipe.send(endless(1, "one"))
    pipe.send(LoadModel("two", str(folders[1]), "embed", "float32"))
    events = [pipe.receive()]
    while not isinstance(events[-1], Loaded):
        events.append(pipe.receive())
    assert any(isinstance(event, Report) for event in events)


def test_decoder_and_encoder_live_side_by_side(pipe: Pipe, folders: tuple[Path, Path]):
    pipe.load("one", folders[0])
    loaded = pipe.load("two", folders[1], "embed")
    assert isinstance(loaded, Loaded)
    assert loaded.dimensions == 64
    pipe.send(endless(1, "one"))
    pipe.send(Embed(2, "two", [prompt(5)], "mean", normalize=True, dimensions=64, accepted=0.0))
    reports = [pipe.report() for _ in range(6)]
    assert {report.model for report in reports} == {"one", "two"}
    assert any(output.vectors for report in reports for output in report.outputs)


def test_what_cannot_be_loaded_is_told_and_the_engine_goes_on(
    pipe: Pipe, folders: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    failed = pipe.load("bad", tmp_path)
    assert isinstance(failed, LoadFailed)
    assert failed.model == "bad"
    assert isinstance(pipe.load("good", folders[0]), Loaded)


def test_a_model_goes_and_requests_for_it_fail(pipe: Pipe, folders: tuple[Path, Path]):
    pipe.load("m", folders[0])
    pipe.send(UnloadModel("m"))
    assert pipe.receive() == Unloaded("m")
    pipe.send(endless(1))
    assert [output.failure for output in pipe.report().outputs] == ["fault"]


def test_a_model_that_is_unloaded_while_it_loads_does_not_stay(folders: tuple[Path, Path]):
    class Slow:
        """Loads once it may."""

        def __init__(self) -> None:
            self.may = threading.Event()
            self.loaded = threading.Event()

        def load(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
            self.may.wait(10)
            result = TransformersBackend("cpu").load(command)
            self.loaded.set()
            return result

        def unload(self) -> None:
            pass

    slow = Slow()
    with engine(slow) as pipe:
        pipe.send(LoadModel("m", str(folders[0]), "generate", "float32", limits=LIMITS))
        pipe.send(UnloadModel("m"))
        assert pipe.receive() == Unloaded("m")
        slow.may.set()
        assert slow.loaded.wait(10)
        pipe.send(endless(1))
        assert [output.failure for output in pipe.report().outputs] == ["fault"]
