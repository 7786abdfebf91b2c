"""Vectors are what plain pooling gives, whoever shares the batch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.inference_worker.engine.batch import Floats, Ints
from services.inference_worker.engine.checkpoint import UnreadableCheckpoint
from services.inference_worker.engine.encoder import Encoder
from services.inference_worker.engine.heads import copy_heads, read_heads
from services.inference_worker.engine.pooling import Dense
from services.inference_worker.engine.runner import DeviceLost, EncoderRunner
from services.inference_worker.engine.torch_models import encoder as torch_encoder
from services.inference_worker.engine.transformers_encoder import TransformersEncoder
from services.inference_worker.engine.weights import load
from services.inference_worker.wire import Batch, Embed, Generate, Limits, LoadModel, Output, Sampling
from tests.unit.inference_worker.tiny_models import bert, prompt, save

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
def runner(folder: Path) -> EncoderRunner:
    return by_program(folder)


def by_program(folder: Path) -> EncoderRunner:
    return torch_encoder(LoadModel("tiny", str(folder), "embed", "float32"), "cpu", threads=1)


def by_transformers(folder: Path) -> EncoderRunner:
    return TransformersEncoder(load(folder, "embed", "float32", "cpu"))


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval()


def encoder(
    runner: EncoderRunner, tokens: int = 1_024, clock: Clock | None = None, dense: tuple[Dense, ...] = ()
) -> Encoder:
    return Encoder("tiny", runner, Limits(batch_tokens=tokens), dense, clock or Clock())


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


def roberta(folder: Path) -> Path:
    from transformers import RobertaConfig, RobertaModel

    sizes: dict[str, Any] = {"hidden_size": SIZE, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "initializer_range": 0.4, "vocab_size": 512}
    config = RobertaConfig(max_position_embeddings=514, pad_token_id=1, type_vocab_size=1, **sizes, **heads)
    return save(RobertaModel, config, folder)


@pytest.mark.parametrize("make", [by_program, by_transformers])
@pytest.mark.parametrize("model", [bert, roberta])
def test_states_are_those_of_transformers_whoever_shares_the_batch(model: Any, make: Any, tmp_path: Path):
    from transformers import AutoModel

    runner = make(model(tmp_path))
    alone = AutoModel.from_pretrained(tmp_path).eval()
    inputs = [prompt(length, seed=length) for length in (9, 1, 2, 9, 511, 17, 512, 9)]
    lengths = np.array(list(map(len, inputs)), np.int32)
    got = runner.encode(np.concatenate(inputs).astype(np.int32), lengths)
    expected = np.concatenate([states(alone, each).numpy() for each in inputs])
    assert (runner.context_length, runner.vocabulary_size, runner.dimensions) == (512, 512, SIZE)
    assert np.abs(got - expected).max() <= 1e-5


def test_vectors_equal_mean_pooling_one_at_a_time(runner: EncoderRunner, reference: Any):
    inputs = [prompt(length, seed=length) for length in (17, 1, 2, 512, 9, 3, 40, 41, 100, 511)]
    engine = encoder(runner)
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
    runner: EncoderRunner, reference: Any, pooling: str, normalize: bool, dimensions: int
):
    tokens = prompt(12)
    engine = encoder(runner)
    engine.admit(
        request(1, [tokens, prompt(30)], pooling=pooling, normalize=normalize, dimensions=dimensions)
    )
    values, _ = run(engine)
    hidden = states(reference, tokens)
    vector = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling][:dimensions]
    expected = vector / vector.norm() if normalize else vector
    assert np.abs(values[1].reshape(2, dimensions)[0] - expected.numpy()).max() <= 1e-5


def test_requests_of_one_batch_may_ask_for_different_things(runner: EncoderRunner, reference: Any):
    engine = encoder(runner)
    wishes = [("cls", False, SIZE), ("mean", True, 5), ("cls", False, SIZE), ("last", True, SIZE)]
    for number, (pooling, normalize, dimensions) in enumerate(wishes):
        engine.admit(
            request(number, [prompt(9, number)], pooling=pooling, normalize=normalize, dimensions=dimensions)
        )
    values, batches = run(engine)
    assert len(batches) == 1
    for number, (pooling, normalize, dimensions) in enumerate(wishes):
        hidden = states(reference, prompt(9, number))
        vector = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling][:dimensions]
        expected = vector / vector.norm() if normalize else vector
        assert np.abs(values[number] - expected.numpy()).max() <= 1e-5


def test_requests_that_wait_together_share_a_batch(runner: EncoderRunner):
    engine = encoder(runner)
    for number in range(5):
        engine.admit(request(number, [prompt(10, seed=number)]))
    values, batches = run(engine)
    assert set(values) == set(range(5))
    assert [(batch.requests, batch.inputs, batch.tokens) for batch in batches] == [([0, 1, 2, 3, 4], 5, 50)]


def test_a_large_request_is_cut_and_does_not_hold_up_a_small_one(runner: EncoderRunner):
    engine = encoder(runner, tokens=128)
    engine.admit(request(1, [prompt(20, seed=n) for n in range(40)]))
    engine.admit(request(2, [prompt(20, seed=1)]))
    finished: list[int] = []
    while engine.busy:
        finished += [output.id for output in engine.step().outputs]
    assert sorted(finished) == [1, 2]


def test_a_cancelled_request_is_in_no_later_batch(runner: EncoderRunner):
    engine = encoder(runner, tokens=64)
    engine.admit(request(1, [prompt(20)] * 10))
    engine.admit(request(2, [prompt(60)]))
    engine.step()
    assert engine.cancel(1)
    report = engine.step()
    assert report.batch is not None
    assert report.batch.requests == [2]
    assert report.load.running == report.load.queued == report.load.outstanding_tokens == 0
    assert not engine.busy


def test_a_passed_deadline_is_told_once(runner: EncoderRunner):
    clock = Clock()
    engine = encoder(runner, clock=clock)
    engine.admit(request(1, [prompt(4)], deadline=100.0))
    report = engine.step()
    assert [(output.id, output.failure) for output in report.outputs] == [(1, "deadline")]
    assert report.batch is None
    assert not engine.busy


def test_figures_tell_who_waits_and_who_is_at_it(runner: EncoderRunner):
    engine = encoder(runner, tokens=40)
    engine.admit(request(1, [prompt(20)] * 4))
    engine.admit(request(2, [prompt(30)]))
    load = engine.step().load
    assert (load.running, load.queued, load.outstanding_tokens) == (1, 1, 70)


class Failing:
    """An encoder whose device fails as it is told to."""

    context_length = vocabulary_size = 512
    dimensions = SIZE
    memory_bytes = 0

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error

    def encode(self, tokens: Ints, lengths: Ints) -> Floats:
        assert len(tokens) == lengths.sum()
        if self.error:
            raise self.error
        return np.ones((len(tokens), SIZE), np.float32)


def test_a_failed_batch_fails_those_who_were_in_it():
    runner = Failing(ValueError("what nobody foresaw"))
    engine = encoder(runner, tokens=8)
    engine.admit(request(1, [prompt(8), prompt(8)]))
    engine.admit(request(2, [prompt(8)]))
    assert [(each.id, each.failure) for each in engine.step().outputs] == [(1, "fault")]
    runner.error = None
    values, _ = run(engine)
    assert set(values) == {2}


def test_a_lost_device_is_not_held_back():
    engine = encoder(Failing(DeviceLost("gone")))
    engine.admit(request(1, [prompt(8)]))
    with pytest.raises(DeviceLost):
        engine.step()


def test_an_encoder_makes_no_tokens():
    with pytest.raises(TypeError):
        encoder(Failing(ValueError())).admit(Generate(1, "tiny", [1], Sampling(max_tokens=1), 0.0))


def test_dense_layers_stand_behind_the_pooling(folder: Path, reference: Any, tmp_path: Path):
    layers = [dense_layer(tmp_path / "2_Dense", 48, SIZE, "Tanh"), dense_layer(tmp_path / "3", 32, 48)]
    modules = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    modules += [{"type": "sentence_transformers.models.Dense", "path": path} for path in ("2_Dense", "3")]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    copy_heads(tmp_path, tmp_path / "packed")
    heads = read_heads(tmp_path / "packed")
    assert len(heads) == 2
    engine = encoder(by_program(folder), dense=heads)
    engine.admit(request(1, [prompt(12)], dimensions=20))
    values, _ = run(engine)
    with torch.no_grad():
        vector = layers[1](torch.tanh(layers[0](states(reference, prompt(12)).mean(0))))[:20]
    assert np.abs(values[1] - (vector / vector.norm()).numpy()).max() <= 1e-5


def test_an_encoder_without_dense_layers_has_none(folder: Path, tmp_path: Path):
    copy_heads(folder, tmp_path)
    assert read_heads(tmp_path) == ()


@pytest.mark.parametrize("path", ["../elsewhere", "/etc"])
def test_a_layer_outside_of_the_folder_is_not_read(path: str, tmp_path: Path):
    module = {"type": "sentence_transformers.models.Dense", "path": path}
    (tmp_path / "modules.json").write_text(json.dumps([module]))
    with pytest.raises(UnreadableCheckpoint, match="outside"):
        read_heads(tmp_path)


def test_a_layer_with_an_unknown_activation_is_refused(tmp_path: Path):
    dense_layer(tmp_path / "d", 4, 4, "Softmax2d")
    module = {"type": "sentence_transformers.models.Dense", "path": "d"}
    (tmp_path / "modules.json").write_text(json.dumps([module]))
    with pytest.raises(UnreadableCheckpoint, match="Softmax2d"):
        read_heads(tmp_path)


def dense_layer(folder: Path, rows: int, columns: int, activation: str = "Identity") -> torch.nn.Linear:
    """Save a layer as sentence-transformers does, and return it."""
    from safetensors.torch import save_file

    torch.manual_seed(rows)
    layer = torch.nn.Linear(columns, rows)
    folder.mkdir(parents=True)
    save_file(
        {f"linear.{name}": value for name, value in layer.state_dict().items()}, folder / "model.safetensors"
    )
    config = {"activation_function": f"torch.nn.modules.activation.{activation}"}
    (folder / "config.json").write_text(json.dumps(config))
    return layer
