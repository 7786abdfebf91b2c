"""The picture of the mesh at one moment: what processes report joined with what the watches see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.kit import semconv
from services.monitor.groups import Group, grouped
from services.monitor.metrics import Entry, MetricStore, Process
from services.monitor.roster import Health, Peer, Roster
from services.monitor.series import Counter, Gauge

NOT_ERRORS = frozenset({"", "OK", "CANCELLED"})


@dataclass(frozen=True)
class ProcessRow:
    """A process. `silent_seconds` is None for an address at which none that reports is known."""

    service: str
    instance: str
    address: str
    health: Health
    cpu_cores: float = 0.0
    memory_bytes: int = 0
    silent_seconds: float | None = None


@dataclass(frozen=True)
class WorkerRow:
    """A worker, with its last status as it came."""

    address: str
    health: Health
    status: Any


@dataclass(frozen=True)
class RpcRow:
    """The calls of one rpc, over all processes of the service that answers it. Latencies in seconds."""

    service: str
    rpc: str
    calls: int
    errors: int
    calls_per_second: float
    latency_p50: float | None
    latency_p99: float | None


@dataclass(frozen=True)
class ModelRow:
    """What a model does, over all workers. Times in seconds."""

    model: str
    version: str
    requests: int
    requests_per_second: float
    prompt_tokens_per_second: float
    generated_tokens_per_second: float
    time_to_first_token_p50: float | None
    time_to_first_token_p99: float | None


@dataclass(frozen=True)
class Picture:
    """The whole mesh; every list is in the order of its row's first fields."""

    processes: Sequence[ProcessRow]
    workers: Sequence[WorkerRow]
    rpcs: Sequence[RpcRow]
    models: Sequence[ModelRow]


class Observer:
    """Draws the picture from the store and the roster. `worker` is the service whose peers are workers."""

    def __init__(self, store: MetricStore, roster: Roster, worker: str) -> None:
        self._store = store
        self._roster = roster
        self._worker = worker

    def picture(self) -> Picture:
        """Return the mesh as it is now."""
        workers = [
            WorkerRow(peer.address, peer.health, peer.status) for peer in self._roster.of(self._worker)
        ]
        return Picture(self._processes(), workers, self._rpcs(), self._models())

    def _processes(self) -> list[ProcessRow]:
        processes = self._store.processes()
        peers = {id(process): self._peer(process, processes) for process in processes}
        rows = [self._process(process, peers[id(process)]) for process in processes]
        found = {id(peer) for peer in peers.values()}
        silent = [peer for peer in self._roster if id(peer) not in found and peer.service != self._worker]
        rows += [ProcessRow(peer.service, "", peer.address, peer.health) for peer in silent]
        return sorted(rows, key=lambda row: (row.service, row.instance, row.address))

    def _peer(self, process: Process, processes: Iterable[Process]) -> Peer | None:
        """Return the address at which a process is.

        It is known where the peer says which process it is; or where the service has one address: then it is
        that of the process that began to report last, since one that was killed lingers until it is
        forgotten.
        """
        peers = self._roster.of(process.origin.service)
        siblings = [each for each in processes if each.origin.service == process.origin.service]
        named = next((peer for peer in peers if peer.instance == process.origin.instance), None)
        if len(peers) != 1 or peers[0].instance in {each.origin.instance for each in siblings}:
            return named
        return peers[0] if process is max(siblings, key=lambda each: each.began_at) else None

    def _process(self, process: Process, peer: Peer | None) -> ProcessRow:
        cores, memory = 0.0, 0.0
        for (instrument, _), series in process.series.items():
            if instrument.name == semconv.PROCESS_CPU_TIME and isinstance(series, Counter):
                cores += series.window.per_second(self._store.now(), self._store.started_at)
            elif instrument.name == semconv.PROCESS_MEMORY_USAGE and isinstance(series, Gauge):
                memory += series.value
        return ProcessRow(
            service=process.origin.service,
            instance=process.origin.instance,
            address=peer.address if peer else "",
            health=peer.health if peer else Health.UNSPECIFIED,
            cpu_cores=cores,
            memory_bytes=max(0, int(memory)),
            silent_seconds=self._store.now() - process.reported_at,
        )

    def _rpcs(self) -> list[RpcRow]:
        calls = grouped(
            self._store,
            semconv.RPC_SERVER_CALL_DURATION,
            lambda entry: (entry.service, entry.attribute(semconv.RPC_METHOD)),
        )
        return [_rpc(service, rpc, calls[service, rpc]) for service, rpc in sorted(calls)]

    def _models(self) -> list[ModelRow]:
        names = (
            semconv.GEN_AI_SERVER_REQUEST_DURATION,
            semconv.MODEL_PROMPT_TOKENS,
            semconv.MODEL_GENERATED_TOKENS,
            semconv.GEN_AI_SERVER_TIME_TO_FIRST_TOKEN,
        )
        measured = [grouped(self._store, name, _model_key) for name in names]
        nothing = Group((), self._store.now(), self._store.started_at)
        models = sorted({key for groups in measured for key in groups})
        return [_model(key, *(groups.get(key, nothing) for groups in measured)) for key in models]


def _rpc(service: str, rpc: str, calls: Group) -> RpcRow:
    failed = calls.where(lambda entry: entry.attribute(semconv.RPC_RESPONSE_STATUS_CODE) not in NOT_ERRORS)
    spread = calls.spread()
    return RpcRow(
        service,
        rpc,
        calls=calls.count(),
        errors=failed.count(),
        calls_per_second=calls.per_second(),
        latency_p50=spread.quantile(0.5),
        latency_p99=spread.quantile(0.99),
    )


def _model(key: tuple[str, str], requests: Group, read: Group, made: Group, first: Group) -> ModelRow:
    spread = first.spread()
    return ModelRow(
        *key,
        requests=requests.count(),
        requests_per_second=requests.per_second(),
        prompt_tokens_per_second=read.per_second(),
        generated_tokens_per_second=made.per_second(),
        time_to_first_token_p50=spread.quantile(0.5),
        time_to_first_token_p99=spread.quantile(0.99),
    )


def _model_key(entry: Entry) -> tuple[str, str]:
    return entry.attribute(semconv.GEN_AI_REQUEST_MODEL), entry.attribute(semconv.MODEL_VERSION)
