"""Vectors are what plain pooling gives, whoever shares the batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.inference_worker.engine.encoder import Encoder
from services.inference_worker.engine.weights import LoadedModel, load
from services.inference_worker.wire import Batch, Embed, Limits, Output
from tests.unit.inference_worker.tiny_models import bert, prompt

SIZE = 64


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load(folder, "embed", "float32", "cpu")


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval()


def encoder(loaded: LoadedModel, tokens: int = 1_024, clock: Clock | None = None) -> Encoder:
    return Encoder("tiny", loaded, Limits(batch_tokens=tokens), clock or Clock())


def request(number: int, inputs: list[list[int]], deadline: float | None = None, **choices: Any) -> Embed:
    asked = {"pooling": "mean", "normalize": True, "dimensions": SIZE} | choices
    return Embed(id=number, model="tiny", inputs=inputs, accepted=99.0, deadline=deadline, **asked)


def run(encoder: Encoder) -> tuple[dict[int, Any], list[Batch]]:
    """Step until nothing is left; return each request's vectors and the batches."""
    outputs: list[Output] = []
    batches: list[Batch] = []
    while encoder.busy:
        report = encoder.step()
        outputs += report.outputs
        batches += [report.batch] if report.batch else []
    values = {each.id: np.frombuffer(each.vectors.values, "<f4") for each in outputs if each.vectors}
    return values, batches


def states(reference: Any, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return reference(torch.tensor([tokens])).last_hidden_state[0]


def test_vectors_equal_mean_pooling_one_at_a_time(loaded: LoadedModel, reference: Any):
    inputs = [prompt(length, seed=length) for length in (1, 2, 3, 9, 17, 40, 41, 100, 511, 512)]
    engine = encoder(loaded)
    engine.admit(request(1, inputs))
    values, batches = run(engine)
    expected = np.stack(
        [torch.nn.functional.normalize(states(reference, each).mean(0), dim=0) for each in inputs]
    )
    assert np.abs(values[1].reshape(-1, SIZE) - expected).max() <= 1e-5
    assert sum(batch.inputs for batch in batches) == len(inputs)
    assert sum(batch.tokens for batch in batches) == sum(map(len, inputs))


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dimensions", [SIZE, 5])
def test_pooling_scaling_and_cutting_are_as_asked(
    loaded: LoadedModel, reference: Any, pooling: str, normalize: bool, dimensions: int
):
    tokens = prompt(12)
    engine = encoder(loaded)
    engine.admit(
        request(1, [tokens, prompt(30)], pooling=pooling, normalize=normalize, dimensions=dimensions)
    )
    values, _ = run(engine)
    hidden = states(reference, tokens)
    vector = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling][:dimensions]
    expected = vector / vector.norm() if normalize else vector
    assert np.abs(values[1].reshape(2, dimensions)[0] - expected.numpy()).max() <= 1e-5


def test_requests_that_wait_together_share_a_batch(loaded: LoadedModel):
    engine = encoder(loaded)
    for number in range(5):
        engine.admit(request(number, [prompt(10, seed=number)]))
    values, batches = run(engine)
    assert set(values) == set(range(5))
    assert [(batch.requests, batch.inputs, batch.tokens) for batch in batches] == [([0, 1, 2, 3, 4], 5, 50)]


def test_a_large_request_is_cut_and_does_not_hold_up_a_small_one(loaded: LoadedModel):
    engine = encoder(loaded, tokens=128)
    engine.admit(request(1, [prompt(20, seed=n) for n in range(40)]))
    engine.admit(request(2, [prompt(20, seed=1)]))
    finished: list[int] = []
    while engine.busy:
        finished += [output.id for output in engine.step().outputs]
    assert sorted(finished) == [1, 2]


def test_a_cancelled_request_is_in_no_later_batch(loaded: LoadedModel):
    engine = encoder(loaded, tokens=64)
    engine.admit(request(1, [prompt(20)] * 10))
    engine.admit(request(2, [prompt(20)]))
    engine.step()
    assert engine.cancel(1)
    report = engine.step()
    assert report.batch is not None
    assert report.batch.requests == [2]
    assert report.load.running == report.load.queued == report.load.outstanding_tokens == 0
    assert not engine.busy


def test_a_passed_deadline_is_told_once(loaded: LoadedModel):
    clock = Clock()
    engine = encoder(loaded, clock=clock)
    engine.admit(request(1, [prompt(4)], deadline=100.0))
    report = engine.step()
    assert [(output.id, output.failure) for output in report.outputs] == [(1, "deadline")]
    assert report.batch is None
    assert not engine.busy


def test_figures_tell_who_waits_and_who_is_at_it(loaded: LoadedModel):
    engine = encoder(loaded, tokens=40)
    engine.admit(request(1, [prompt(20)] * 4))
    engine.admit(request(2, [prompt(30)]))
    load = engine.step().load
    assert (load.running, load.queued, load.outstanding_tokens) == (1, 1, 70)
