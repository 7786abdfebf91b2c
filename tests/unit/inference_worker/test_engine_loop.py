"""The engine's loop over a real pipe: one message a step, models in turn, a cancel before the next step."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from services.inference_worker.engine.backend import Backend, ServedModel
from services.inference_worker.engine.generator import Generator
from services.inference_worker.engine.link import Link
from services.inference_worker.engine.loop import Loop
from services.inference_worker.wire import (
    LENGTH,
    Cancel,
    Command,
    Embed,
    Event,
    Generate,
    Limits,
    Load,
    Loaded,
    LoadFailed,
    LoadModel,
    Output,
    Report,
    Sampling,
    Started,
    Timings,
    Unloaded,
    UnloadModel,
    Vectors,
    decode_event,
    encode,
)
from tests.unit.inference_worker.stamped_runner import VOCABULARY, StampedRunner

LIMITS = Limits(cache_tokens=4_096)
WAIT = 60  # seconds for what happens at once


class Pipe:
    """The worker's end, read in a blocking way: what comes first is known."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def send(self, *commands: Command) -> None:
        """Send commands at once: the loop finds all of them or none."""
        self._connection.sendall(b"".join(map(encode, commands)))

    def receive(self) -> Event:
        (length,) = LENGTH.unpack(self._file.read(LENGTH.size))
        return decode_event(self._file.read(length))

    def report(self) -> Report:
        event = self.receive()
        assert isinstance(event, Report)
        return event

    def load(self, name: str, path: str = "decoder") -> Event:
        self.send(LoadModel(name, path, "generate", "float32", limits=LIMITS))
        return self.receive()

    def close(self) -> None:
        self._file.close()
        self._connection.close()


@dataclass
class Vectorising:
    """A model that answers an Embed with nothing in it, one a step."""

    waiting: list[int] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        return bool(self.waiting)

    def admit(self, request: Generate | Embed) -> None:
        self.waiting.append(request.id)

    def cancel(self, request_id: int) -> bool:
        return request_id in self.waiting

    def step(self) -> Report:
        vectors = Vectors(b"", Timings(1.0, 2.0, 2.0))
        return Report("two", 1, Load(), [Output(self.waiting.pop(0), vectors=vectors)])


class Doubles:
    """A backend that makes a decoder of "decoder", an encoder of "encoder", and fails at all else."""

    def load(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
        loaded = Loaded(command.model, 512, VOCABULARY, 64, LIMITS.cache_tokens, 0)
        models = {"decoder": self._decoder, "encoder": lambda _: Vectorising()}
        return models[command.path](command), loaded

    def unload(self) -> None:
        pass

    def _decoder(self, command: LoadModel) -> ServedModel:
        return Generator(command.model, StampedRunner(LIMITS.cache_tokens // 16), command.limits)


@contextmanager
def engine(backend: Backend) -> Iterator[Pipe]:
    """Run an engine's loop on a thread; it must end when its pipe does."""
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT)
    loop = threading.Thread(target=Loop(Link(theirs), backend).run, daemon=True)
    loop.start()
    pipe = Pipe(ours)
    assert isinstance(pipe.receive(), Started)
    yield pipe
    pipe.close()
    loop.join(WAIT)
    theirs.close()
    assert not loop.is_alive()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with engine(Doubles()) as pipe:
        yield pipe


def endless(number: int, model: str = "m") -> Generate:
    return Generate(number, model, [number, 7, 8], Sampling(max_tokens=400, ignore_eos=True), accepted=0.0)


def test_a_step_is_one_message_for_everybody(pipe: Pipe):
    pipe.load("m")
    pipe.send(*(endless(number) for number in (1, 2, 3)))
    report = pipe.report()
    assert [output.id for output in report.outputs] == [1, 2, 3]
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
        assert self.permits.acquire(timeout=WAIT)
        return self.model.step()


@dataclass
class GatedBackend(Doubles):
    permits: threading.Semaphore

    def load(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
        model, loaded = super().load(command)
        return Gated(model, self.permits), loaded


@pytest.mark.parametrize("tokens", [1, 3])
def test_a_cancel_takes_effect_within_one_step(tokens: int):
    permits = threading.Semaphore(0)
    with engine(GatedBackend(permits)) as pipe:
        pipe.load("m")
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
        assert report.load.free_cache_tokens >= LIMITS.cache_tokens - 416
        permits.release(1_000)


def test_models_with_work_take_turns(pipe: Pipe):
    pipe.load("one")
    pipe.load("two")
    pipe.send(endless(1, "one"), endless(2, "two"))
    names = [pipe.report().model for _ in range(21)]
    assert all(left != right for left, right in pairwise(names))


def test_a_load_does_not_stop_a_stream(pipe: Pipe):
    pipe.load("one")
    pipe.send(endless(1, "one"))
    pipe.send(LoadModel("two", "encoder", "embed", "float32"))
    events = [pipe.receive()]
    while not isinstance(events[-1], Loaded):
        events.append(pipe.receive())
    assert any(isinstance(event, Report) for event in [*events, pipe.receive()])


def test_decoder_and_encoder_live_side_by_side(pipe: Pipe):
    pipe.load("one")
    assert isinstance(pipe.load("two", "encoder"), Loaded)
    pipe.send(endless(1, "one"))
    pipe.send(Embed(2, "two", [[1, 2]], "mean", normalize=True, dimensions=64, accepted=0.0))
    reports = [pipe.report()]
    while {report.model for report in reports} != {"one", "two"}:
        reports.append(pipe.report())
    assert any(output.vectors for report in reports for output in report.outputs)


def test_what_cannot_be_loaded_is_told_and_the_engine_goes_on(pipe: Pipe, caplog: pytest.LogCaptureFixture):
    failed = pipe.load("bad", "nowhere")
    assert isinstance(failed, LoadFailed)
    assert (failed.model, failed.message) == ("bad", "KeyError: 'nowhere'")
    assert isinstance(pipe.load("good"), Loaded)


def test_a_model_goes_and_requests_for_it_fail(pipe: Pipe):
    pipe.load("m")
    pipe.send(UnloadModel("m"))
    assert pipe.receive() == Unloaded("m")
    pipe.send(endless(1))
    assert [output.failure for output in pipe.report().outputs] == ["fault"]


def test_a_request_that_cannot_be_fails_alone(pipe: Pipe, caplog: pytest.LogCaptureFixture):
    pipe.load("m")
    pipe.send(Generate(1, "m", [7] * 600, Sampling(max_tokens=1), accepted=0.0))
    assert [output.failure for output in pipe.report().outputs] == ["fault"]
    pipe.send(endless(2))
    assert [output.failure for output in pipe.report().outputs] == [""]


def test_a_model_that_is_unloaded_while_it_loads_does_not_stay():
    class Slow(Doubles):
        """Loads once it may."""

        def __init__(self) -> None:
            self.may = threading.Event()
            self.loaded = threading.Event()

        def load(self, command: LoadModel) -> tuple[ServedModel, Loaded]:
            self.may.wait(WAIT)
            result = super().load(command)
            self.loaded.set()
            return result

    slow = Slow()
    with engine(slow) as pipe:
        pipe.send(LoadModel("m", "decoder", "generate", "float32", limits=LIMITS))
        pipe.send(UnloadModel("m"))
        assert pipe.receive() == Unloaded("m")
        slow.may.set()
        assert slow.loaded.wait(WAIT)
        pipe.send(endless(1))
        assert [output.failure for output in pipe.report().outputs] == ["fault"]
