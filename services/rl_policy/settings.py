"""The policy service's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from services.kit.mesh import entry
from services.kit.settings import setting
from services.kit.telemetry import TelemetrySettings
from services.rl_policy.runs import RunLimits


@dataclass(frozen=True)
class PolicySettings:
    """Where the service listens, where it keeps what it learns from, and how much it takes on."""

    listen: str = setting(entry("rl_policy").address, "The address to listen on.")
    policy_database: str = setting(
        "",
        "Where episodes and versions are kept: sqlite:///PATH or postgresql://… Empty: a file in the state.",
    )
    state: Path = setting(Path("~/.local/state/trunkline"), "Where what outlives a run is kept.")
    policy_max_questions: int = setting(4_096, "Acts that wait at once; more are refused.", unit="calls")
    policy_max_episodes: int = setting(
        65_536, "Episodes that run at once; more are refused.", unit="episodes"
    )
    policy_episode_idle_s: float = setting(
        3_600.0, "After how long an episode may be abandoned to make room.", unit="seconds"
    )
    policy_trains: bool = setting(True, "Whether this replica trains; of those on one database only one may.")  # noqa: FBT003
    policy_follow_s: float = setting(
        0.0, "How often versions and traffic of other replicas are taken over. 0: never.", unit="seconds"
    )
    drain_s: float = setting(10.0, "How long running calls may go on when the service stops.", unit="seconds")
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        for name in ("max_questions", "max_episodes"):
            if getattr(self, f"policy_{name}") < 1:
                raise ValueError(f"TRUNKLINE_POLICY_{name.upper()} must be at least 1")
        if min(self.drain_s, self.policy_episode_idle_s, self.policy_follow_s) < 0:
            names = "TRUNKLINE_DRAIN_S, TRUNKLINE_POLICY_EPISODE_IDLE_S and TRUNKLINE_POLICY_FOLLOW_S"
            raise ValueError(f"{names} must not be negative")

    @property
    def database(self) -> str:
        """Return the URL of the database; a file's folder is made."""
        if self.policy_database:
            return self.policy_database
        folder = self.state / "rl_policy"
        folder.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{folder / 'policies.db'}"

    @property
    def limits(self) -> RunLimits:
        """Return how many episodes may run."""
        return RunLimits(self.policy_max_episodes, self.policy_episode_idle_s)
