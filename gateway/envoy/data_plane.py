"""The data plane: Envoy, and the files that tell it what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.envoy.admin import Admin, AdminError, until
from gateway.envoy.places import Models, Places
from gateway.envoy.process import EnvoyProcess
from gateway.envoy.snapshot import Folder, bootstrap, snapshot
from gateway.envoy.writer import Writer


class DataPlane:
    """Envoy on files in `folder`, which is this run's own. `process` is to be started after `begin`.

    `on_change` is called when `process.is_ready` has changed.
    """

    def __init__(
        self,
        places: Places,
        binary: str,
        folder: Path,
        *,
        threads: int,
        drain_s: float,
        on_change: Callable[[], None],
    ) -> None:
        self._places = places
        self._folder = Folder(folder)
        admin = Admin(self._folder.admin)
        self.process = EnvoyProcess(
            binary, self._folder, admin, threads=threads, drain_s=drain_s, on_change=on_change
        )
        self._admin = admin
        self._writer = Writer(self._folder, admin, lambda: self.process.is_ready)

    async def begin(self, models: Models) -> None:
        """Write everything that Envoy starts with."""
        await self.show(models)
        self._folder.write_bootstrap(bootstrap(self._places, self._folder))

    async def show(self, models: Models) -> None:
        """Have tensor-level calls go to `models`; return when they do. One call at a time. Raises OSError."""
        await self._writer.write(snapshot(self._places, models, self._folder))

    async def until_routed(self, cluster: str) -> None:
        """Return when Envoy runs and finds a host of `cluster` healthy."""

        async def routed() -> bool:
            try:
                return bool(await self._admin.healthy(cluster))
            except AdminError:
                return False

        await until(routed)
