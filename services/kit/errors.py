"""The one error tree. Code raises these; only the server's interceptor turns them into a gRPC status."""

# ruff: noqa: N818 - the classes carry the names of gRPC's status codes

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

_NONE: Mapping[str, str] = MappingProxyType({})


class Reason(StrEnum):
    """Why a call failed: the names of `trunkline.error.v1.ErrorReason`, without their prefix."""

    REQUEST_MALFORMED = "REQUEST_MALFORMED"
    FIELD_INVALID = "FIELD_INVALID"
    CONTEXT_LENGTH_EXCEEDED = "CONTEXT_LENGTH_EXCEEDED"
    TASK_UNSUPPORTED = "TASK_UNSUPPORTED"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    VERSION_NOT_FOUND = "VERSION_NOT_FOUND"
    ARTIFACT_NOT_FOUND = "ARTIFACT_NOT_FOUND"
    PROCESS_NOT_FOUND = "PROCESS_NOT_FOUND"
    TRACE_NOT_FOUND = "TRACE_NOT_FOUND"
    DEVICE_NOT_FOUND = "DEVICE_NOT_FOUND"
    ITEM_NOT_FOUND = "ITEM_NOT_FOUND"
    USER_NOT_FOUND = "USER_NOT_FOUND"
    SCENARIO_NOT_FOUND = "SCENARIO_NOT_FOUND"
    EXPERIMENT_NOT_FOUND = "EXPERIMENT_NOT_FOUND"
    VARIANT_NOT_FOUND = "VARIANT_NOT_FOUND"
    TRAINING_NOT_FOUND = "TRAINING_NOT_FOUND"
    POLICY_NOT_FOUND = "POLICY_NOT_FOUND"
    EPISODE_NOT_FOUND = "EPISODE_NOT_FOUND"
    DECISION_NOT_FOUND = "DECISION_NOT_FOUND"
    POLICY_EXISTS = "POLICY_EXISTS"
    REVISION_MISMATCH = "REVISION_MISMATCH"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    QUEUE_FULL = "QUEUE_FULL"
    DEVICE_MEMORY_EXHAUSTED = "DEVICE_MEMORY_EXHAUSTED"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    MODEL_NOT_READY = "MODEL_NOT_READY"
    TOKENIZER_UNAVAILABLE = "TOKENIZER_UNAVAILABLE"
    WORKER_UNAVAILABLE = "WORKER_UNAVAILABLE"
    ENGINE_LOST = "ENGINE_LOST"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    DRAINING = "DRAINING"
    STREAM_STALLED = "STREAM_STALLED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    RPC_NOT_SERVED = "RPC_NOT_SERVED"
    MODEL_SOURCE_INVALID = "MODEL_SOURCE_INVALID"
    MODEL_LOAD_FAILED = "MODEL_LOAD_FAILED"
    MODEL_NOT_TRAINED = "MODEL_NOT_TRAINED"
    GATE_FAILED = "GATE_FAILED"
    TRAINING_FAILED = "TRAINING_FAILED"
    EXPERIMENT_RUNNING = "EXPERIMENT_RUNNING"
    EVIDENCE_TOO_THIN = "EVIDENCE_TOO_THIN"
    STEP_OUT_OF_ORDER = "STEP_OUT_OF_ORDER"
    EPISODE_ENDED = "EPISODE_ENDED"
    TRAINING_STATE = "TRAINING_STATE"
    VERSION_UNUSABLE = "VERSION_UNUSABLE"
    LEARNER_UNAVAILABLE = "LEARNER_UNAVAILABLE"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True)
class Violation:
    """One field of a request that is wrong: its path (`texts[3]`) and what it must be, as half a sentence."""

    field: str
    description: str


class TrunklineError(Exception):
    """A failure that a caller may learn of. Raise a subclass: its `code` is the gRPC status code's name.

    `message` is a sentence for people and is sent; `metadata` holds what programs decide on, named in the
    reason's sample; `retry_after` is in seconds, None where a retry makes no sense or the default (1 s) does.
    `reason` is a Reason, or the plain string that a newer peer sent and this build does not know.
    """

    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        reason: Reason | str,
        message: str,
        *,
        metadata: Mapping[str, str] = _NONE,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata)
        self.violations = tuple(violations)
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.reason)!r}, {self.message!r})"


class InvalidArgument(TrunklineError):
    """The request is wrong whatever the state of the system."""

    code = "INVALID_ARGUMENT"


class NotFound(TrunklineError):
    """What the request names is not here."""

    code = "NOT_FOUND"


class AlreadyExists(TrunklineError):
    """What the request would make is there already, and differs."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(TrunklineError):
    """The request is right, the state is not; a retry alone does not help."""

    code = "FAILED_PRECONDITION"


class Aborted(TrunklineError):
    """Something changed since the caller read it: read again, decide again."""

    code = "ABORTED"


class ResourceExhausted(TrunklineError):
    """Full; nothing was begun. Come back after `retry_after`."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(TrunklineError):
    """Not to be reached now. Come back after `retry_after`."""

    code = "UNAVAILABLE"


class DeadlineExceeded(TrunklineError):
    """The caller's deadline, or the default one, has passed."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(TrunklineError):
    """The caller, or an operator's drain, ended the call."""

    code = "CANCELLED"


class PermissionDenied(TrunklineError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class Unauthenticated(TrunklineError):
    """The caller is not known."""

    code = "UNAUTHENTICATED"


class Unimplemented(TrunklineError):
    """Nobody here serves this rpc to this caller."""

    code = "UNIMPLEMENTED"


class Internal(TrunklineError):
    """A fault of ours."""

    code = "INTERNAL"


def invalid(field: str, description: str) -> InvalidArgument:
    """Return the error for one wrong field; `description` follows its name: "must be from 0 to 1, not 2"."""
    violation = Violation(field, description)
    return InvalidArgument(Reason.FIELD_INVALID, f"{field} {description}", violations=[violation])
