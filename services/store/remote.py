"""Files and folders on this machine and in object stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

from services.store.digests import digest_of
from services.store.sources import Progress, SourceError


class FileSource:
    """`file:///PATH`: a file or folder that is used where it lies; the cache only links to it."""

    def __init__(self, url: str, sha256: str) -> None:
        self.path = local_path(url)
        self.sha256 = sha256

    def fetch(self, into: Path, progress: Progress) -> None:
        """Link the files into `into`; raises SourceError."""
        progress(0.0, f"looking at {self.path}")
        _check(self.path, str(self.path), self.sha256)
        if self.path.is_file():
            (into / self.path.name).symlink_to(self.path.resolve())
            return
        for each in self.path.rglob("*"):
            if each.is_file():
                link = into / each.relative_to(self.path)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(each.resolve())


class RemoteSource:
    """Any URL that fsspec opens: `s3://BUCKET/FOLDER/`, `gs://…`, `https://…`."""

    def __init__(self, url: str, sha256: str) -> None:
        self.url = url
        self.sha256 = sha256

    def fetch(self, into: Path, progress: Progress) -> None:
        """Copy the file, or all files below the folder, into `into`; raises SourceError."""
        try:
            self._copy(into, progress)
        except ImportError as error:
            raise SourceError(f"{self.url} needs a package that is not installed: {error}") from error
        except SourceError:
            raise
        except Exception as error:  # each of fsspec's backends raises its client's own kinds
            raise SourceError(f"{self.url} could not be fetched: {type(error).__name__}: {error}") from error
        copied = list(into.iterdir())
        _check(copied[0] if len(copied) == 1 and copied[0].is_file() else into, self.url, self.sha256)

    def _copy(self, into: Path, progress: Progress) -> None:
        from fsspec.core import url_to_fs

        filesystem, root = url_to_fs(self.url)
        sizes = _files(filesystem, root)
        if not sizes:
            raise SourceError(f"{self.url} holds no files.")
        total, done = sum(sizes.values()) or 1, 0
        for path, size in sizes.items():
            relative = path.removeprefix(root.rstrip("/")).lstrip("/") or path.rpartition("/")[2]
            target = into / relative
            if not target.resolve().is_relative_to(into.resolve()):
                raise SourceError(f"{self.url} holds {path!r}, which leads out of its folder.")
            progress(done / total, f"copying {relative} ({size / 1e6:.0f} MB)")
            target.parent.mkdir(parents=True, exist_ok=True)
            filesystem.get_file(path, str(target))
            done += size


def local_path(url: str) -> Path:
    """Return the path that a `file://` URL means."""
    return Path(unquote(url.removeprefix("file://")))


def fingerprint(path: Path) -> str:
    """Return a text that changes when a file, or a file of a folder, is replaced: names, sizes and times."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    stats = [(each.relative_to(path.parent), each.stat()) for each in files]
    return "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)


def _files(filesystem: Any, root: str) -> dict[str, int]:
    """Return the files at or below `root` with their sizes in bytes."""
    if not filesystem.isdir(root):
        return {root: filesystem.info(root).get("size") or 0}
    return {path: info.get("size") or 0 for path, info in sorted(filesystem.find(root, detail=True).items())}


def _check(path: Path, label: str, sha256: str) -> None:
    if not path.exists():
        raise SourceError(f"{label} does not exist on this machine.")
    if sha256 and (found := digest_of(path)) != sha256:
        raise SourceError(f"{label} has SHA-256 {found}, not {sha256}.")
