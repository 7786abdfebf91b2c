"""The one translation between the error tree and gRPC statuses, in both directions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from services.kit import errors
from services.kit.errors import Reason, TrunklineError, Violation

DOMAIN = "trunkline.dev"
DETAILS_KEY = "grpc-status-details-bin"
DEFAULT_RETRY_AFTER_S = 1.0

# Trailers must stay under the 8 KiB that peers accept by default, so what a client can make long is cut.
MESSAGE_LIMIT = 500
VIOLATIONS_LIMIT = 16
TEXT_LIMIT = 160

_RETRIABLE = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})
_CLASSES: dict[str, type[TrunklineError]] = {cls.code: cls for cls in TrunklineError.__subclasses__()}
# What gRPC itself, or a peer that is not Trunkline, meant by a code that came without details.
_BARE: dict[str, tuple[type[TrunklineError], Reason, str]] = {
    "INVALID_ARGUMENT": (errors.InvalidArgument, Reason.REQUEST_MALFORMED, ""),
    "OUT_OF_RANGE": (errors.InvalidArgument, Reason.FIELD_INVALID, ""),
    "UNIMPLEMENTED": (errors.Unimplemented, Reason.RPC_NOT_SERVED, "the rpc is not served at this address"),
    "RESOURCE_EXHAUSTED": (errors.ResourceExhausted, Reason.MESSAGE_TOO_LARGE, ""),
    "UNAVAILABLE": (
        errors.Unavailable,
        Reason.SERVICE_UNAVAILABLE,
        "the service cannot be reached: it is starting, stopping or down",
    ),
    "DEADLINE_EXCEEDED": (errors.DeadlineExceeded, Reason.DEADLINE_EXCEEDED, "the deadline has passed"),
    "CANCELLED": (errors.Cancelled, Reason.CANCELLED, "the call was cancelled"),
}


def to_status(error: TrunklineError) -> Status:
    """Return what is sent for `error`: code, message and details.

    ErrorInfo is always there; BadRequest where there are violations; RetryInfo always with RESOURCE_EXHAUSTED
    and UNAVAILABLE (1 s where the error says nothing), else where the error says so. Long texts are cut, and
    only the first violations are sent.
    """
    status = Status(code=Code.Value(error.code), message=_cut(error.message, MESSAGE_LIMIT))
    metadata = {key: _cut(value, TEXT_LIMIT) for key, value in error.metadata.items()}
    status.details.add().Pack(ErrorInfo(reason=str(error.reason), domain=DOMAIN, metadata=metadata))
    if error.violations:
        fields = [
            BadRequest.FieldViolation(
                field=_cut(each.field, TEXT_LIMIT), description=_cut(each.description, TEXT_LIMIT)
            )
            for each in error.violations[:VIOLATIONS_LIMIT]
        ]
        status.details.add().Pack(BadRequest(field_violations=fields))
    retry_after = error.retry_after
    if retry_after is None and error.code in _RETRIABLE:
        retry_after = DEFAULT_RETRY_AFTER_S
    if retry_after is not None:
        delay = Duration()
        delay.FromNanoseconds(int(retry_after * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


def from_status(status: Status) -> TrunklineError:
    """Return the error that `status` was made of; details of unknown types are left out."""
    info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    has_info = has_retry = False
    for detail in status.details:
        has_info = detail.Unpack(info) or has_info
        detail.Unpack(bad_request)
        has_retry = detail.Unpack(retry) or has_retry
    code = Code.Name(status.code) if status.code in Code.values() else "UNKNOWN"
    if not has_info:
        return _bare(code, status.message)
    return _CLASSES.get(code, errors.Internal)(
        _reason(info.reason),
        status.message,
        metadata=info.metadata,
        violations=[Violation(each.field, each.description) for each in bad_request.field_violations],
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if has_retry else None,
    )


def from_rpc_error(error: grpc.RpcError) -> TrunklineError:
    """Return the error that a failed call (grpc or grpc.aio) carries, with `error` as its `__cause__`.

    Without details (a refused connection, a peer that is not Trunkline) the class follows the code. What gRPC
    itself says of a connection names addresses, so it stays in the cause and out of the message.
    """
    call: Any = error
    status = _details(call.trailing_metadata())
    result = from_status(status) if status else _bare(call.code().name, call.details() or "")
    result.__cause__ = error
    return result


def _details(metadata: Iterable[tuple[str, Any]] | None) -> Status | None:
    for key, value in metadata or ():
        if key == DETAILS_KEY:
            try:
                return Status.FromString(value)
            except DecodeError:
                return None
    return None


def _bare(code: str, message: str) -> TrunklineError:
    if code == "INTERNAL" and "RST_STREAM" in message:
        # A proxy whose upstream is gone can only reset a stream that has begun: no fault of a service.
        code = "UNAVAILABLE"
    if code in _BARE:
        cls, reason, text = _BARE[code]
        return cls(reason, text or message or code)
    if code in _CLASSES and code != "INTERNAL":
        return _CLASSES[code](Reason.INTERNAL, message or code)
    return errors.Internal(Reason.INTERNAL, "the service failed and gave no reason")


def _cut(text: str, limit: int) -> str:
    """Return `text` in at most about `limit` bytes of valid UTF-8."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= limit else data[:limit].decode(errors="ignore") + "…"


def _reason(name: str) -> Reason | str:
    return Reason(name) if name in Reason.__members__ else name
