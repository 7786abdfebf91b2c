"""The catalogue as its file says now, for processes that outlive a change of it."""

from __future__ import annotations

import logging
from pathlib import Path

from services.kit.settings import SettingsError
from services.store.catalogue import Catalogue

_LOGGER = logging.getLogger(__name__)


class CatalogueFile:
    """Reads the catalogue, and again when its file has changed, so that models can be added at any time."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the built-in catalogue and `path`; raises SettingsError as `Catalogue.read`."""
        self._path = path.expanduser() if path else None
        self._stamp = self._look()
        self._catalogue = Catalogue.read(self._path)

    def current(self) -> Catalogue:
        """Return the catalogue; a file that cannot be used any more leaves the last good one."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._catalogue = Catalogue.read(self._path)
            except SettingsError as error:
                _LOGGER.warning("the catalogue stays as it was", extra={"error": str(error)})
        return self._catalogue

    def _look(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat() if self._path else None
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat else None
