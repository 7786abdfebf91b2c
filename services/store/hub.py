"""Models of the Hugging Face hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from services.store.digests import digest_of
from services.store.sources import Progress, SourceError

# What serving needs: weights, configuration, tokenizer, template. No pickles, no other frameworks' weights.
_WANTED = ["*.json", "*.safetensors", "*.model", "*.jinja"]


class HubSource:
    """`hf://OWNER/NAME@REVISION[/PATH]`: the files a model is served from, or those below `PATH` alone.

    `endpoint` is the hub's URL; None is huggingface_hub's own choice (HF_ENDPOINT). A token is taken from
    where huggingface_hub keeps it.
    """

    def __init__(
        self, repository: str, revision: str, path: str, *, sha256: str, endpoint: str | None = None
    ) -> None:
        self.repository = repository
        self.revision = revision or "main"
        self.path = path.strip("/")
        self.sha256 = sha256
        self.endpoint = endpoint

    def fetch(self, into: Path, progress: Progress) -> None:
        """Download into `into`; raises SourceError."""
        label = f"{self.repository}@{self.revision}"
        progress(0.0, f"downloading {label} from the hub")
        scratch = into / ".fetched"
        try:
            self._download(scratch, progress)
            taken = scratch / self.path
            if not taken.exists():
                raise SourceError(f"The hub's {label} holds no {self.path}.")
            found = digest_of(taken)
            if self.sha256 and found != self.sha256:
                raise SourceError(f"The hub's {label} has SHA-256 {found}, not {self.sha256}.")
            for each in [taken] if taken.is_file() else list(taken.iterdir()):
                each.rename(into / each.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _download(self, scratch: Path, progress: Progress) -> None:
        from huggingface_hub import snapshot_download

        wanted = [self.path, f"{self.path}/*"] if self.path else _WANTED
        try:
            snapshot_download(
                self.repository,
                revision=self.revision,
                local_dir=scratch,
                allow_patterns=wanted,
                endpoint=self.endpoint,
                tqdm_class=_told(progress, self.repository),
            )
        except Exception as error:  # the client raises a dozen kinds, from its own to httpx's
            first = str(error).strip().partition("\n")[0]
            raise SourceError(f"The hub did not give {self.repository}@{self.revision}: {first}") from error
        shutil.rmtree(scratch / ".cache", ignore_errors=True)
        if not any(each.is_file() for each in scratch.rglob("*")):
            raise SourceError(
                f"The hub's {self.repository}@{self.revision} holds none of {', '.join(wanted)}."
            )


def _told(progress: Progress, name: str) -> type[Any]:
    """Return a tqdm that draws nothing and tells `progress` how many bytes have come."""
    from tqdm import tqdm

    class Told(tqdm):  # type: ignore[misc]  # the client has no types
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": _Nowhere()})

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.unit == "B" and self.total:
                progress(min(self.n / self.total, 1.0), f"downloading {name} ({self.n / 1e6:.0f} MB)")
            return shown

    return Told


class _Nowhere:
    """A file that forgets."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Do nothing."""
