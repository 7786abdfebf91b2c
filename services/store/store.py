"""The store: models' files in a cache that all processes of this machine share.

    ROOT/sources/KEY/…          what a source brought, looked up before any network
    ROOT/prepared/KEY/KIND/…    what was made of it, such as a tokenizer from a GGUF file
    ROOT/locks/, ROOT/partial/  who is at it, and what is not finished

`KEY` stands for the source and its digest, so that models share what they have in common. A folder appears by
one rename when it is complete; whoever dies before leaves a partial folder that the next one throws away.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.kit.errors import FailedPrecondition, Reason
from services.store.gguf_tokenizer import convert_tokenizer
from services.store.remote import fingerprint, local_path
from services.store.sources import Progress, SourceError, open_source, silent
from services.store.spec import Format, ModelSpec, Origin
from services.store.tokenizer_files import TokenizerFiles, read_tokenizer

TOKENIZER_KIND = "tokenizer-1"
"""The name of converted tokenizers; raise its number when the conversion changes."""


class Store:
    """Fetches and prepares models. Safe to use from many threads and processes at once; calls block."""

    def __init__(self, root: Path) -> None:
        """Use the cache in the folder `root`, which is made when it is first needed."""
        self._root = root.expanduser()

    def cached(self, spec: Origin) -> bool:
        """Return whether `fetch` would answer at once."""
        try:
            return self._sources(spec).is_dir()
        except FailedPrecondition:
            return False

    def fetch(self, spec: Origin, progress: Progress = silent) -> Path:
        """Return the folder that holds the files of the model's source, fetched if they are not there yet.

        Raises FailedPrecondition (MODEL_SOURCE_INVALID) when they cannot be had or have another digest.
        """
        folder = self._sources(spec)
        source = open_source(spec.source, spec.sha256, spec.download_bytes)
        with _refusing(spec):
            return self._made_once(folder, lambda into: source.fetch(into, progress), progress)

    def prepared(
        self, spec: ModelSpec, kind: str, convert: Callable[[Path, Path], None], progress: Progress = silent
    ) -> Path:
        """Return the folder that `convert(source folder, empty folder)` filled, now or at any time before.

        `kind` names the form and the version of its making ("weights-bfloat16"). What `convert` raises is
        passed on and leaves nothing behind.
        """
        source = self.fetch(spec, progress)
        folder = self._root / "prepared" / source.name / kind
        return self._made_once(folder, lambda into: convert(source, into), progress)

    def tokenizer(self, spec: ModelSpec, progress: Progress = silent) -> TokenizerFiles:
        """Return the model's tokenizer: the same bytes, and so the same digest, for every caller.

        Raises FailedPrecondition (MODEL_SOURCE_INVALID) as `fetch`, and when the source holds no tokenizer.
        """
        folder = self.fetch(spec, progress)
        with _refusing(spec):
            if spec.weights is Format.GGUF and not (folder / "tokenizer.json").is_file():
                folder = self.prepared(spec, TOKENIZER_KIND, convert_tokenizer, progress)
            return read_tokenizer(folder)

    def _sources(self, spec: Origin) -> Path:
        identity = f"{spec.source}\n{spec.sha256}"
        if spec.source.startswith("file://"):
            # Nothing else tells that a file which is used in place has been replaced.
            with _refusing(spec):
                identity += f"\n{fingerprint(local_path(spec.source))}"
        label = re.sub(r"[^A-Za-z0-9._=-]+", "-", spec.source.partition("://")[2]).strip("-")[:48]
        return self._root / "sources" / f"{label}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    def _made_once(self, folder: Path, make: Callable[[Path], None], progress: Progress) -> Path:
        """Return `folder`, filled by `make` unless it exists: by one thread of one process, in one rename."""
        if folder.is_dir():
            return folder
        name = "--".join(folder.relative_to(self._root).parts)
        with _locked(
            self._root / "locks" / name, lambda: progress(0.0, "waiting for another process that is at it")
        ):
            if folder.is_dir():
                return folder
            partial = self._root / "partial" / name
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            try:
                make(partial)
                folder.parent.mkdir(parents=True, exist_ok=True)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return folder


@contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; the kernel gives it back when this process ends in any way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _refusing(spec: Origin) -> Iterator[None]:
    """Turn what goes wrong with a source into the refusal that callers see."""
    try:
        yield
    except (SourceError, OSError) as error:
        message = f"The model {spec.name!r} cannot be had from {spec.source}: {error}"
        metadata = {"model": spec.name, "source": spec.source}
        raise FailedPrecondition(Reason.MODEL_SOURCE_INVALID, message, metadata=metadata) from error
