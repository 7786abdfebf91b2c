"""Packs a model for the native runner: `python -m …native.packing SOURCE INTO PRECISION TASK`.

INTO gets `packed.bin`, the weights as the library reads them, and `packed.json`, which says where each lies
and what happens with it. Nothing here depends on the processor.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, get_args

import numpy as np

from services.inference_worker.engine import adapters
from services.inference_worker.engine.checkpoint import Checkpoint, matrix, open_checkpoint, vector
from services.inference_worker.engine.heads import copy_heads
from services.inference_worker.engine.native import layouts
from services.inference_worker.engine.native.layouts import VERSION, Kind
from services.inference_worker.engine.native.lowering import Lowered, Role, Unsupported, Weight, lower
from services.inference_worker.engine.program import Matrix, Program, Vector
from services.inference_worker.wire import Task

Precision = Literal["bfloat16", "float32", "int8", "q4"]

NO_PROGRAM = 3
"""The status with which the command ends for a model that the native runner cannot serve: torch can."""

_ALIGNMENT = 4096


def pack_model(checkpoint: Checkpoint, program: Program, precision: Precision, into: Path) -> None:
    """Write `packed.bin` and `packed.json` into the folder. Raises lowering.Unsupported, or OSError."""
    lowered = lower(program)
    with (into / "packed.bin").open("wb") as file:
        records = [_write(file, checkpoint, role, weight, precision) for role, weight in lowered.weights]
        size = file.tell()
    described = _description(checkpoint, program, precision, lowered) | {"records": records, "bytes": size}
    (into / "packed.json").write_text(json.dumps(described), encoding="utf-8")


def _description(
    checkpoint: Checkpoint, program: Program, precision: Precision, lowered: Lowered
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "precision": precision,
        "end_token_ids": sorted(checkpoint.end_token_ids),
        "context_length": program.context_length,
        "vocabulary_size": program.vocabulary_size,
        "layers": program.layers,
        "kv_heads": program.kv_heads,
        "head_size": program.head_size,
        "causal": program.causal,
        "buffers": [buffer.width for buffer in program.buffers],
        "result": program.result.index,
        "operations": lowered.operations,
    }


def _write(
    file: BinaryIO, checkpoint: Checkpoint, role: Role, weight: Weight, precision: Precision
) -> dict[str, int]:
    """Append one weight, aligned, and return its record."""
    kind, stored, rows, columns = _stored(checkpoint, role, weight, precision)
    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
    start = file.tell()
    file.write(stored)
    record = {"role": role, "kind": kind, "rows": rows, "columns": columns, "weights": start}
    return record | {"scales": 0, "bytes": file.tell() - start}


def _stored(
    checkpoint: Checkpoint, role: Role, weight: Weight, precision: Precision
) -> tuple[Kind, memoryview, int, int]:
    """Return a weight's kind, bytes, rows and columns."""
    if isinstance(weight, Matrix):
        shape = (weight.rows, weight.columns)
        if role == Role.TABLE:
            return *_table(checkpoint, weight, precision), *shape
        return *_linear(checkpoint, weight, precision), *shape
    values = vector(checkpoint, weight) if isinstance(weight, Vector) else np.array(weight, np.float32)
    return Kind.FLOAT32, np.ascontiguousarray(values).data, len(values), 1


def _table(checkpoint: Checkpoint, weight: Matrix, precision: Precision) -> tuple[Kind, memoryview]:
    values = matrix(checkpoint, weight)
    if precision == "float32":
        return Kind.FLOAT32, np.ascontiguousarray(values).data
    return Kind.BFLOAT16, layouts.bfloat16(values).data


def _linear(checkpoint: Checkpoint, weight: Matrix, precision: Precision) -> tuple[Kind, memoryview]:
    if precision == "bfloat16":
        return Kind.BFLOAT16, layouts.bfloat16_tiles(matrix(checkpoint, weight)).data
    if precision == "float32":
        return Kind.FLOAT32, layouts.float32_blocks(matrix(checkpoint, weight)).data
    from services.inference_worker.engine.native import quantisation

    return quantisation.stored(checkpoint, weight, precision)


def main(arguments: list[str]) -> int:
    """Pack as the arguments say; returns the status of the process."""
    source, into, precision, task = arguments
    if precision not in get_args(Precision):
        raise SystemExit(f"there is no precision {precision}")
    checkpoint = open_checkpoint(Path(source))
    program = adapters.program(checkpoint.config, checkpoint.names(), cast("Task", task))
    if program is None:
        return NO_PROGRAM
    try:
        pack_model(checkpoint, program, cast("Precision", precision), Path(into))
    except Unsupported:
        return NO_PROGRAM
    copy_heads(Path(source), Path(into))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
