from __future__ import annotations

import random
import struct
from pathlib import Path

import gguf
import pytest

from services.store.catalogue import Catalogue
from services.store.gguf_metadata import read_metadata, read_tensors
from services.store.gguf_tokenizer import gguf_file
from services.store.sources import SourceError
from tests.real_models import CHAT, store
from tests.unit.store.gguf_files import byte_level

HEADER = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
KEY = struct.pack("<Q", 1) + b"a"


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    path = tmp_path / "all.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    values = {
        "u8": 255,
        "i8": -1,
        "u16": 65_535,
        "i16": -2,
        "u32": 2**32 - 1,
        "i32": -3,
        "u64": 2**63,
        "i64": -4,
    }
    kinds = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
    for kind, (name, value) in zip(kinds, values.items(), strict=True):
        getattr(writer, f"add_{kind}")(name, value)
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_string("text", "日本\n")
    writer.add_array("texts", ["a", "", "é"])
    writer.add_array("numbers", [1, 2, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    read = read_metadata(path)
    assert {name: read[name] for name in values} == values
    assert (read["f32"], read["f64"], read["yes"], read["text"]) == (0.5, 0.1, True, "日本\n")
    assert (read["texts"], read["numbers"]) == (["a", "", "é"], [1, 2, 3])
    assert read["general.architecture"] == "llama"


def test_the_default_models_metadata_are_those_of_the_gguf_package() -> None:
    path = gguf_file(store().fetch(Catalogue.read().get(CHAT)))
    theirs = {
        name: each.contents()
        for name, each in gguf.GGUFReader(path).fields.items()
        if not name.startswith("GGUF.")
    }
    assert read_metadata(path) == theirs


def test_the_default_models_tensors_are_those_of_the_gguf_package() -> None:
    path = gguf_file(store().fetch(Catalogue.read().get(CHAT)))
    theirs = {
        each.name: (
            tuple(reversed(each.shape.tolist())),
            each.tensor_type.name,
            each.data_offset,
            each.n_bytes,
        )
        for each in gguf.GGUFReader(path).tensors
    }
    ours = read_tensors(path)
    assert {name: (each.shape, each.type, each.offset, each.size) for name, each in ours.items()} == theirs
    assert [each.name for each in ours.values()] == list(ours)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cannot mmap an empty file"),
        (b"PK\x03\x04" + b"\0" * 50, "does not begin with GGUF"),
        (b"GGUF", "requires a buffer"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "its version is 1"),
        (HEADER, "requires a buffer"),
        (HEADER + struct.pack("<Q", 2**60), "a text of 1152921504606846976 bytes"),
        (HEADER + KEY + struct.pack("<IIQ", 9, 4, 2**60), "a list of 1152921504606846976"),
        (HEADER + KEY + struct.pack("<IIQ", 9, 4, 7), "a list of 7"),
        (HEADER + KEY + struct.pack("<I", 77), "77"),
        (HEADER + KEY + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9, "a list of 1"),
        (HEADER + struct.pack("<Q", 1) + b"\xff", "codec can't decode"),
    ],
)
def test_what_is_no_gguf_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"model.gguf is not a GGUF file that can be read: ") as refused:
        read_metadata(path)
    assert complaint in str(refused.value)


def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    path = byte_level("llama-bpe").write(tmp_path)
    whole = path.read_bytes()
    generator = random.Random(7)
    for _ in range(300):
        damaged = bytearray(whole[: generator.randrange(len(whole))])
        for _ in range(generator.randrange(4)):
            damaged[generator.randrange(len(damaged) or 1) : 1] = generator.randbytes(1)
        path.write_bytes(damaged)
        try:
            read_metadata(path)
            read_tensors(path)
        except SourceError:
            continue
