"""SHA-256 of what a source brought."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest_of(path: Path) -> str:
    r"""Return the SHA-256, in hex, of a file's bytes, or of a folder's listing.

    The listing of a folder has a line a file, `<sha256>  <path>\n`, ordered by path:
    `find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    names = sorted(
        (each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file()), key=str.encode
    )
    listing = "".join(f"{digest_of(path / name)}  {name}\n" for name in names)
    return hashlib.sha256(listing.encode()).hexdigest()
