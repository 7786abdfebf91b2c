"""The monitor's settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.kit.addresses import split
from services.kit.mesh import MONITOR_HTTP_PORT, entry, owner
from services.kit.settings import setting
from services.kit.telemetry import TelemetrySettings

_TOKENIZER = owner("trunkline.tokenizer.v1.TokenizerService")
_WORKER = owner("trunkline.worker.v1.WorkerService")
_RECOMMENDER = owner("trunkline.recommender.v1.RecommenderService")
_RL_POLICY = owner("trunkline.policy.v1.PolicyService")
_CONTROLLER = owner("trunkline.control.v1.ControlService")


@dataclass(frozen=True)
class MonitorSettings:
    """What the monitor listens on, whom it watches and how much it keeps."""

    listen: str = setting(entry("monitor").address, "Where OTLP and MonitorService are answered.")
    metrics_http: str = setting(
        f"127.0.0.1:{MONITOR_HTTP_PORT}", "Where /metrics and Jaeger's query paths are answered."
    )
    tokenizer: str = setting(_TOKENIZER.address, "The tokenizer whose health is watched. Empty: none.")
    recommender: str = setting(_RECOMMENDER.address, "The recommender whose health is watched. Empty: none.")
    rl_policy: str = setting(_RL_POLICY.address, "The policies whose health is watched. Empty: none.")
    controller: str = setting(_CONTROLLER.address, "The controller whose health is watched. Empty: none.")
    workers: tuple[str, ...] = setting(
        (_WORKER.address,),
        "The workers that are watched; dns:///NAME:PORT stands for all addresses of a name.",
    )
    monitor_series: int = setting(8_192, "The most metric series that are kept.", unit="series")
    monitor_traces: int = setting(1_000, "The most traces that are kept.", unit="traces")
    monitor_trace_bytes: int = setting(64 * 2**20, "The most memory that traces take.", unit="bytes")
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        if min(self.monitor_series, self.monitor_traces, self.monitor_trace_bytes) < 1:
            raise ValueError("TRUNKLINE_MONITOR_SERIES, _TRACES and _TRACE_BYTES must be above 0")
        if not self.metrics_http.rpartition(":")[2].isdigit():
            raise ValueError(f"TRUNKLINE_METRICS_HTTP must be HOST:PORT, not {self.metrics_http!r}")
        targets = {
            "TOKENIZER": (self.tokenizer,),
            "RECOMMENDER": (self.recommender,),
            "RL_POLICY": (self.rl_policy,),
            "CONTROLLER": (self.controller,),
            "WORKERS": self.workers,
        }
        for name, target in ((name, each) for name, all_of_it in targets.items() for each in all_of_it):
            if target:
                _check(f"TRUNKLINE_{name}", target)


def _check(variable: str, target: str) -> None:
    try:
        split(target)
    except ValueError as error:
        raise ValueError(f"{variable} cannot be used: {error}") from error
