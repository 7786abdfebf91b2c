"""The versions of the models: which is loaded, which one serves, how one takes another's place."""

from __future__ import annotations

from services.recommender.serving.operations import Gate


class Versions:
    """Loads versions beside the one that serves and swaps them in one step. Made by `Serving`."""

    @property
    def live(self) -> str:
        """The version that serves; empty: none is trained."""
        raise NotImplementedError

    async def promote(self, version: str, gate: Gate | None = None) -> None:
        """Serve `version` from the next answer on.

        Raises NotFound (VERSION_NOT_FOUND), FailedPrecondition (GATE_NOT_PASSED, with metric, value and needed in
        the metadata; VERSION_DAMAGED where its files cannot be read): then the live one goes on serving.
        """
        raise NotImplementedError

    async def rollback(self, version: str = "") -> str:
        """Serve the version that was live before, or a named earlier one; return its name.

        Raises FailedPrecondition (NO_EARLIER_VERSION), and as `promote`.
        """
        raise NotImplementedError
