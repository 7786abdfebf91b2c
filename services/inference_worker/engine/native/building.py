"""Builds the native library of csrc/ where a C++ compiler is: `python building.py`, or the build hook.

The file's name tells which kernel it holds: `…_simd.cpp` is compiled once for each level of instructions,
`…_avx2.cpp`, `…_avx512.cpp` and `…_amx.cpp` once for theirs, anything else for every processor. The library
is named after its sources' hash, so that a changed source is never served by an old library.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "csrc"
LIBRARIES = Path(__file__).resolve().parent / "build"

AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mavx512bf16")
LEVELS: dict[str, tuple[str, ...]] = {
    "portable": (),
    "avx2": AVX2,
    "avx512": (*AVX512, "-mprefer-vector-width=512"),
    "amx": (*AVX512, "-mprefer-vector-width=512", "-mamx-tile", "-mamx-bf16", "-mamx-int8"),
}
WARNINGS = ("-Wall", "-Wextra", "-Wno-psabi", "-Wno-unknown-warning-option", "-Wno-ignored-attributes")
MATHEMATICS = ("-fno-math-errno", "-fno-trapping-math")
PLAIN = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-pthread", *MATHEMATICS, *WARNINGS)


@dataclass(frozen=True)
class Compilation:
    """One call of the compiler: a source at a level of instructions."""

    source: Path
    level: str

    @property
    def flags(self) -> tuple[str, ...]:
        """What selects the level's instructions, and its namespace in a source that knows several."""
        return (*LEVELS[self.level], f"-DLEVEL={self.level}")


def sources_hash(sources: Path = SOURCES) -> str:
    """Return a hash of everything the library is made of."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(sources.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def compilations(sources: Path = SOURCES, machine: str = platform.machine()) -> list[Compilation]:
    """Return what must be compiled; on other processors than x86-64 that is the portable level alone."""
    levels = list(LEVELS) if machine in {"x86_64", "AMD64"} else ["portable"]
    found = []
    for source in sorted(sources.glob("*.cpp")):
        suffix = source.stem.rpartition("_")[2]
        wanted = [level for level in LEVELS if level != "amx"] if suffix == "simd" else [suffix]
        if suffix not in {*LEVELS, "simd"}:
            wanted = ["portable"]
        found += [Compilation(source, level) for level in wanted if level in levels]
    return found


def compiler() -> str | None:
    """Return the C++ compiler of this system: $CXX, or the first that is on PATH."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++", "clang++"]
    return next((found for name in names if (found := shutil.which(name))), None)


def build(into: Path = LIBRARIES, flags: Sequence[str] = ("-O3", "-DNDEBUG")) -> Path | None:
    """Return the library, compiled if it is not there yet; None, after a sentence, where it cannot be."""
    library = into / f"libtrunkline-{sources_hash()}.so"
    if library.exists():
        return library
    command = compiler()
    if command is None:
        print("No C++ compiler: Trunkline is installed without its native runner.", file=sys.stderr)  # noqa: T201
        return None
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into) as folder:
        made = Path(folder) / library.name
        try:
            _compile(command, Path(folder), made, flags)
        except subprocess.CalledProcessError as error:
            print(f"The native runner was not built: {error.stderr[-4000:]}", file=sys.stderr)  # noqa: T201
            return None
        for old in into.glob("libtrunkline-*.so"):
            old.unlink(missing_ok=True)
        made.replace(library)
    return library


def _compile(command: str, folder: Path, made: Path, flags: Sequence[str]) -> None:
    """Compile every source on as many threads as there are processors, and link."""

    def run(*arguments: str) -> None:
        subprocess.run([command, *PLAIN, *flags, *arguments], check=True, capture_output=True, text=True)  # noqa: S603

    def compile_one(each: Compilation) -> str:
        target = folder / f"{each.source.stem}-{each.level}.o"
        run(*each.flags, "-c", str(each.source), "-o", str(target))
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        objects = list(threads.map(compile_one, compilations()))
    run("-shared", *objects, "-o", str(made))


if __name__ == "__main__":
    print(build() or "no native library")  # noqa: T201
