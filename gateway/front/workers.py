"""The workers as this front sees them: what each reported last, and what this front gave it since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.following import Follower
from gateway.front.calls import Ids
from gateway.front.picking import Picker
from gateway.front.routes import Target, not_ready
from gateway.front.sampling import SamplingDefaults

# How long a call waits for a worker that the routes name, and whose own report does not say so yet: the two
# travel apart.
REPORT_S = 1.0

Watch = Callable[[str], AsyncGenerator["WorkerReport", None]]


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One version of one model on a worker."""

    ready: bool
    vocabulary_size: int = 0
    outstanding_tokens: int = 0
    defaults: SamplingDefaults = field(default_factory=SamplingDefaults)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker's whole state; models are found by (name, version)."""

    models: Mapping[tuple[str, str], ModelReport] = field(default_factory=lambda: MappingProxyType({}))
    draining: bool = False

    @property
    def outstanding_tokens(self) -> int:
        """Tokens that all its models have yet to read or make: they share its devices."""
        return sum(model.outstanding_tokens for model in self.models.values())


class Worker:
    """One worker, reachable while its status stream is up; `gone` is called when it has left for good."""

    def __init__(self, address: str, gone: Callable[[str], None] = lambda _: None) -> None:
        self.address = address
        self.report: WorkerReport | None = None
        self.heard_of = asyncio.Event()
        """Set once it has reported, or has been found unreachable."""
        self._gone = gone
        self._left = False
        self._calls = 0
        self._reports = 0
        self._given = 0

    @property
    def outstanding_tokens(self) -> int:
        """What it reported, and what it was given since."""
        return self._given + (self.report.outstanding_tokens if self.report else 0)

    def model(self, target: Target) -> ModelReport | None:
        """Return what it says of the target, None where it cannot answer for it now."""
        if self.report is None or self.report.draining:
            return None
        model = self.report.models.get((target.model, target.version.name))
        return model if model and model.ready else None

    def receive(self, report: WorkerReport) -> None:
        """Take a report; it counts what was given before."""
        self._take(report)

    def lose(self) -> None:
        """Take note that the status stream broke."""
        self._take(None)

    def leave(self) -> None:
        """Take note that it is on no route any more; calls that it still has go on."""
        self._left = True
        self._part()

    @contextmanager
    def holding(self, tokens: int) -> Iterator[None]:
        """Count a call, and its `tokens` of work as given until the next report or the end of the block."""
        reports = self._reports
        self._given += tokens
        self._calls += 1
        try:
            yield
        finally:
            if reports == self._reports:
                self._given -= tokens
            self._calls -= 1
            self._part()

    def _part(self) -> None:
        if self._left and not self._calls:
            self._gone(self.address)

    def _take(self, report: WorkerReport | None) -> None:
        self.report = report
        self._reports += 1
        self._given = 0
        self.heard_of.set()


class Workers:
    """Watches every worker of the routes, and picks one for a call. `close` ends the watching.

    `gone` is called with the address of a worker that has left the routes and has no call left.
    """

    def __init__(self, watch: Watch, picker: Picker, silence: float, gone: Callable[[str], None]) -> None:
        self._watch = watch
        self._gone = gone
        self._picker = picker
        self._silence = silence
        self._workers: dict[str, Worker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    def follow(self, addresses: Collection[str]) -> None:
        """Watch exactly these from now on."""
        for address in self._workers.keys() - set(addresses):
            self._tasks.pop(address).cancel()
            self._workers.pop(address).leave()
        for address in set(addresses) - self._workers.keys():
            worker = self._workers[address] = Worker(address, self._gone)
            follower = Follower(
                f"the status of {address}",
                lambda address=address: self._watch(address),  # type: ignore[misc]
                lambda report, worker=worker: self._heard(worker.receive, report),  # type: ignore[misc]
                lambda worker=worker: self._heard(worker.lose),  # type: ignore[misc]
                silence=self._silence,
            )
            self._tasks[address] = asyncio.create_task(follower.run())

    async def settled(self, addresses: Collection[str]) -> None:
        """Return when each of `addresses` has reported or failed to, after REPORT_S at most."""
        waiting = [worker.heard_of for each in addresses if (worker := self._workers.get(each))]
        with suppress(TimeoutError):
            async with asyncio.timeout(REPORT_S):
                for heard_of in waiting:
                    await heard_of.wait()

    async def _agreed(self, target: Target) -> None:
        """Return when a worker says that `target` is ready, or none can be reached; REPORT_S at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REPORT_S):
                while not self.ready(target) and self._expected(target):
                    await self._news.wait()

    def _expected(self, target: Target) -> bool:
        """Return whether a worker of `target` may yet say that it is ready."""
        known = (self._workers.get(address) for address in target.version.workers)
        return any(worker and (worker.report or not worker.heard_of.is_set()) for worker in known)

    def _heard(self, take: Callable[..., None], *report: WorkerReport) -> None:
        """Let a worker take a report, or the loss of its stream, and wake who waits for one."""
        take(*report)
        self._news.set()
        self._news = asyncio.Event()

    def ready(self, target: Target) -> list[Worker]:
        """Return the workers that can answer for `target` now."""
        known = (self._workers.get(address) for address in target.version.workers)
        return [worker for worker in known if worker and worker.model(target)]

    async def model(self, target: Target) -> ModelReport:
        """Return what a ready worker says of `target`; raises Unavailable MODEL_NOT_READY where none is.

        Workers that the routes have only just named get a moment to say the same.
        """
        if not self.ready(target):
            await self._agreed(target)
        for worker in self.ready(target):
            model = worker.model(target)
            if model:
                return model
        raise not_ready(target.model)

    def pick(self, target: Target, ids: Ids, *, besides: Collection[str] = ()) -> Worker:
        """Return the best worker for `ids`, none of `besides`; raises Unavailable MODEL_NOT_READY."""
        candidates = [worker for worker in self.ready(target) if worker.address not in besides]
        if not candidates:
            raise not_ready(target.model)
        return self._picker.pick(candidates, ids)

    async def close(self) -> None:
        """End the watching."""
        tasks = list(self._tasks.values())
        self.follow(())
        await asyncio.gather(*tasks, return_exceptions=True)
