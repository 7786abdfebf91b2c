"""The front's settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.kit.mesh import entry, owner
from services.kit.settings import setting
from services.kit.telemetry import TelemetrySettings

_CONTROLLER = owner("trunkline.control.v1.ControlService")
_POLICIES = owner("trunkline.policy.v1.PolicyService")
_TOKENIZER = owner("trunkline.tokenizer.v1.TokenizerService")


@dataclass(frozen=True)
class FrontSettings:
    """What a front listens on, whom it dials and how long it waits."""

    listen: str = setting(entry("front").address, "Where InferenceService is answered.")
    controller: str = setting(_CONTROLLER.address, "The controller, whose routes are followed.")
    tokenizer: str = setting(_TOKENIZER.address, "The tokenizer service.")
    stall_limit: float = setting(60.0, "How long a worker may be silent between two tokens.", unit="seconds")
    encode_limit: float = setting(10.0, "How long the tokenizer may take for one call.", unit="seconds")
    worker_silence: float = setting(
        3.5,
        "How long a worker that reports every second may be silent before calls go elsewhere.",
        unit="seconds",
    )
    policies: str = setting(_POLICIES.address, "The policy service, for version_policy.")
    version_policy: str = setting(
        "",
        "Versions are chosen by the policy of this prefix and the model's name. Empty: by their shares.",
    )
    version_policy_limit: float = setting(0.05, "How long that policy may take to choose.", unit="seconds")
    artifact_cache: int = setting(16, "How many tokenizers are kept for detokenising.", unit="tokenizers")
    grace: float = setting(
        10.0, "How long running calls may take to end when the front stops.", unit="seconds"
    )
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        if min(self.stall_limit, self.encode_limit, self.worker_silence) <= 0:
            raise ValueError("TRUNKLINE_STALL_LIMIT, _ENCODE_LIMIT and _WORKER_SILENCE must be above 0")
        if self.artifact_cache < 1:
            raise ValueError("TRUNKLINE_ARTIFACT_CACHE must be above 0")
