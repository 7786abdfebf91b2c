"""What is made of a model's files before an engine sees them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.inference_worker.converter import Grown, NotAdapted
from services.inference_worker.devices import Device
from services.inference_worker.native import Native
from services.inference_worker.preparation import Preparation, Prepared
from services.kit.errors import FailedPrecondition
from services.store.catalogue import Catalogue
from services.store.sources import silent
from services.store.spec import Format, ModelSpec, Task
from services.store.store import Store
from tests.real_models import CHAT, store
from tests.unit.inference_worker.tiny_models import llama
from tests.unit.store.gguf_files import sentence_piece

CPU = Device("cpu", "with AMX", 1 << 40, 1 << 40, bfloat16=True)
GPU = Device("cuda:0", "a GPU", 1 << 40, 1 << 40, bfloat16=True)
NATIVE = Native("amx", 7)
PACKED = 5_000


class Makers:
    """Makes files of some bytes, and knows what it was asked."""

    def __init__(self, *, adapted: bool = True, broken: bool = False) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._adapted = adapted
        self._broken = broken

    def convert(self, source: Path, into: Path, dtype: str, grown: Grown) -> None:
        self.asked.append(("convert", dtype))
        (into / "model.safetensors").write_bytes(bytes(10))

    def pack(self, source: Path, into: Path, precision: str, task: str, grown: Grown) -> None:
        self.asked.append(("pack", precision, task))
        if not self._adapted:
            raise NotAdapted
        if self._broken:
            raise ValueError("the packing ended with status 1; the log has its cause")
        grown(PACKED)
        (into / "packed.bin").write_bytes(bytes(PACKED))


class House:
    """A store of its own with a tiny Llama, and what prepares it."""

    def __init__(self, folder: Path, makers: Makers, native: Native | None = NATIVE) -> None:
        self.spec = ModelSpec("tiny", f"file://{llama(folder / 'llama')}", Task.GENERATE)
        self.told: list[tuple[float, str]] = []
        self._work = makers
        self._store = Store(folder / "cache")
        self._native = native

    async def prepare(self, dtype: str, device: Device = CPU) -> Prepared:
        preparation = Preparation(self._store, self._work, dtype, self._native)
        fetched = await preparation.fetch(self.spec, self._tell)
        return await preparation.prepare(fetched, device, self._tell)

    def _tell(self, fraction: float, sentence: str) -> None:
        self.told.append((fraction, sentence))


async def test_weights_are_packed_once_for_each_precision(tmp_path: Path):
    makers = Makers()
    house = House(tmp_path, makers)
    first, again, other = [await house.prepare(dtype) for dtype in ("bfloat16", "bfloat16", "int8")]
    assert makers.asked == [("pack", "bfloat16", "generate"), ("pack", "int8", "generate")]
    assert first == again
    assert first.folder.name == "packed-7-bfloat16"
    assert other.folder.name == "packed-7-int8"
    assert str(first.way) == "native bfloat16, amx"
    assert [sentence for fraction, sentence in house.told if 0 < fraction < 1] == [
        "packing the weights as bfloat16, once",
        "packing the weights as int8, once",
    ]


async def test_packed_weights_are_measured_as_they_are(tmp_path: Path):
    prepared = await House(tmp_path, Makers()).prepare("bfloat16")
    assert prepared.footprint.weight_bytes == PACKED
    assert prepared.footprint.cache_token_bytes == 2 * 2 * 2 * 16 * 2


@pytest.mark.parametrize(
    ("dtype", "device", "native"),
    [("float32", CPU, NATIVE), ("bfloat16", GPU, NATIVE), ("bfloat16", CPU, None)],
)
async def test_what_torch_runs_is_left_as_it_is(
    dtype: str, device: Device, native: Native | None, tmp_path: Path
):
    makers = Makers()
    house = House(tmp_path, makers, native)
    prepared = await house.prepare(dtype, device)
    assert str(prepared.way) == f"torch {dtype}"
    assert (prepared.folder / "config.json").is_file()
    assert makers.asked == []


async def test_a_model_that_no_adapter_knows_goes_the_other_way(tmp_path: Path):
    prepared = await House(tmp_path, Makers(adapted=False)).prepare("q4")
    assert str(prepared.way) == "torch bfloat16"
    assert (prepared.folder / "model.safetensors").is_file()


async def test_a_gguf_file_is_left_as_it_is_where_an_adapter_knows_it():
    makers = Makers()
    preparation = Preparation(store(), makers, "float32", NATIVE)
    fetched = await preparation.fetch(Catalogue.read().get(CHAT), silent)
    prepared = await preparation.prepare(fetched, CPU, silent)
    assert prepared.folder == fetched.folder
    assert makers.asked == []


async def test_a_gguf_file_that_no_adapter_knows_is_converted(tmp_path: Path):
    makers = Makers(adapted=False)
    house = House(tmp_path, makers)
    sentence_piece("gemma").write(tmp_path / "gguf")
    house.spec = ModelSpec("other", f"file://{tmp_path / 'gguf'}", Task.GENERATE, weights=Format.GGUF)
    prepared = await house.prepare("q4")
    assert makers.asked == [("pack", "q4", "generate"), ("convert", "bfloat16")]
    assert prepared.folder.name == "weights-1-bfloat16"


async def test_packing_that_fails_is_a_refusal_with_its_cause_and_is_done_again(tmp_path: Path):
    house = House(tmp_path, Makers(broken=True))
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="tiny cannot be used: the packing ended") as failed:
            await house.prepare("bfloat16")
        assert failed.value.reason == "MODEL_LOAD_FAILED"


async def test_files_that_are_no_model_are_refused(tmp_path: Path):
    house = House(tmp_path, Makers())
    shutil.rmtree(tmp_path / "llama")
    llama(tmp_path / "llama")
    (tmp_path / "llama" / "model.safetensors").write_bytes(b"short")
    with pytest.raises(FailedPrecondition, match="tiny cannot be used"):
        await house.prepare("bfloat16")
