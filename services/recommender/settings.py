"""The recommender's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from services.kit.mesh import entry
from services.kit.settings import setting
from services.kit.telemetry import TelemetrySettings

_STATE = "~/.local/state/trunkline"
FILE = "events.sqlite"
MODELS = "models"


@dataclass(frozen=True)
class RecommenderSettings:
    """Where the recommender listens, where it keeps what it learns of, and how much of it in memory."""

    listen: str = setting(entry("recommender").address, "The address to listen on.")
    state: Path = setting(Path(_STATE), "The folder where events and versions of models are kept.")
    recommender_database: str = setting(
        "", "postgresql://…, or sqlite:///FILE. Empty: SQLite in the folder of the state."
    )
    recommender_configuration: str = setting(
        "", "A TOML file of scenarios and of what event types say. Empty: the one that is built in."
    )
    recommender_histories: int = setting(
        200_000, "Users and sessions whose histories are kept in memory.", unit="histories"
    )
    recommender_history_bytes: int = setting(256 << 20, "The most memory that they take.", unit="bytes")
    recommender_history_events: int = setting(500, "The latest events of a user that count.", unit="events")
    recommender_session_s: float = setting(
        1_800.0, "How long after its last event a session counts.", unit="seconds"
    )
    recommender_item_ttl_s: float = setting(
        0.0, "How long items are recommended after they appeared; 0: for ever.", unit="seconds"
    )
    recommender_slot_policy: str = setting(
        "", "The policy that decides how many places go to fresh items. Empty: as the scenario says."
    )
    recommender_slot_limit_s: float = setting(0.02, "How long it may take to decide.", unit="seconds")
    policies: str = setting(entry("rl_policy").address, "The policy service, for the slot policy.")
    drain_s: float = setting(
        10.0, "How long running calls may go on when the recommender stops.", unit="seconds"
    )
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        for name in ("histories", "history_bytes", "history_events"):
            if getattr(self, f"recommender_{name}") < 1:
                raise ValueError(f"TRUNKLINE_RECOMMENDER_{name.upper()} must be at least 1")
        if min(self.recommender_session_s, self.recommender_item_ttl_s, self.drain_s) < 0:
            raise ValueError("TRUNKLINE_RECOMMENDER_SESSION_S, _ITEM_TTL_S and DRAIN_S must not be negative")

    @property
    def folder(self) -> Path:
        """Where everything is kept that is not in a database elsewhere."""
        return self.state / "recommender"

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.recommender_database or f"sqlite:///{self.folder / FILE}"

    @property
    def models(self) -> Path:
        """The folder of the versions of models."""
        return self.folder / MODELS
