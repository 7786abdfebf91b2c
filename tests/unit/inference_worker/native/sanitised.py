"""Steps of tiny models at every level, for a process whose library watches memory: `sanitised FOLDER`.

Neither torch nor pytest: only what is under test runs beside the sanitizers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from services.inference_worker.engine.batch import Part, pack
from services.inference_worker.engine.native.packing import pack_model
from services.inference_worker.engine.native.runner import NativeRunner
from tests.unit.inference_worker.native.levels import levels
from tests.unit.inference_worker.native.random_checkpoint import tiny_llama

TEXT = [3 + place * 37 % 290 for place in range(150)]
SHAPES = (
    {},
    {"head_dim": 64},
    {"head_dim": 80, "num_key_value_heads": 6},
    {"head_dim": 16, "num_key_value_heads": 1},
)


def walk(model: NativeRunner) -> None:
    """Take steps of many kinds, the last of which is refused."""
    for cut in (150, 47, 16, 1):
        for start in range(0, 48 if cut == 1 else 150, cut):
            tokens = TEXT[start : start + cut]
            model.step(pack([Part(tokens, start, range(10), 1)], logits=cut > 16))
    model.step(
        pack([Part(TEXT[:n], 0, range(10 * i, 10 * i + 10), n) for i, n in enumerate((1, 33, 150, 17))])
    )
    try:
        model.step(pack([Part([10_000], 0, [0], 1)]))
    except ValueError:
        return
    raise AssertionError("a token that is not in the vocabulary was taken")


def main(folder: Path) -> None:
    """Pack each shape in each precision, and walk at each level."""
    for number, shape in enumerate(SHAPES):
        checkpoint, program = tiny_llama(num_hidden_layers=1, **shape)
        for precision in ("bfloat16", "float32", "int8"):
            into = folder / f"{number}-{precision}"
            into.mkdir()
            pack_model(checkpoint, program, precision, into)
            for level in levels():
                os.environ["TRUNKLINE_ISA"] = level
                walk(NativeRunner(into, 40, 2))
    assert np.isfinite(NativeRunner(into, 40, 2).step(pack([Part(TEXT, 0, range(10), 150)])).logits).all()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    print("clean")  # noqa: T201 - what the test looks for
