"""`python -m services.inference_worker.engine.conversion SOURCE INTO DTYPE`: GGUF to safetensors.

A process of its own: it takes three times the model's memory for half a minute, and gives it back by ending.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def convert(source: Path, into: Path, dtype: str) -> None:
    """Fill `into` with a folder of safetensors, in `dtype`, of the one GGUF file in the folder `source`.

    What the file holds in blocks of a few bits is multiplied out: float32 keeps it exactly. Raises ValueError
    where there is not exactly one file, and what transformers raises for one that it cannot read.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    files = sorted(source.glob("*.gguf"))
    if len(files) != 1:
        raise ValueError(f"{source} holds {len(files)} GGUF files, and must hold one")
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=files[0].name,
        dtype=getattr(torch, dtype),
        # Without this transformers marks the model as quantised and refuses to save it.
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
    )
    model.save_pretrained(into)


def main() -> None:
    """Convert what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("dtype", choices=("bfloat16", "float16", "float32"))
    arguments = parser.parse_args()
    convert(arguments.source, arguments.into, arguments.dtype)


if __name__ == "__main__":
    main()
