"""What a table must say of the machine on which it was made."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

TELLING = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-bf16", "avx512_vnni": "AVX512-VNNI", "avx2": "AVX2"}


def heading(module: str) -> str:
    """Return date, command (of folders, their names), processor and versions, in a sentence."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    command = " ".join(["python -m", module, *words])
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("trunkline", "grpcio", "torch", "transformers")
    )
    return (
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on {processor()}; "
        f"Python {platform.python_version()}, {packages}."
    )


def processor() -> str:
    """Return the processor's name and the instructions that matter here."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(told.get("flags", "").split())
    has = [name for flag, name in TELLING.items() if flag in flags]
    return f"{told.get('model name', platform.machine())} ({', '.join(has) or 'no vector instructions told'})"
