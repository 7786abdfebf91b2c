"""The layer that answers failures: a TrunklineError as itself, anything else as INTERNAL with an id."""

from __future__ import annotations

import logging
from typing import Any
from uuid import uuid4

import grpc
from opentelemetry import trace

from services.kit import semconv
from services.kit.errors import Internal, Reason, TrunklineError
from services.kit.handler import Context, Handler
from services.kit.rpc import Rpc
from services.kit.status import DETAILS_KEY, from_rpc_error, to_status

_LOGGER = logging.getLogger(__name__)


def answered(rpc: Rpc, handler: Handler) -> Handler:
    """Turn what a handler raises into a status with details; cancellation passes untouched.

    A failed call that the handler made and let through (grpc.RpcError) is answered with that call's reason.
    """

    async def handle(request: Any, context: Context) -> bytes | None:
        try:
            return await handler(request, context)
        except (grpc.aio.AbortError, grpc.aio.InternalError):
            raise  # already answered, or the peer is gone
        except Exception as error:  # noqa: BLE001 - the one place that answers for all
            failure = _meant(error) or unforeseen(rpc, error)
        trace.get_current_span().set_attribute(semconv.ERROR_REASON, str(failure.reason))
        await abort(context, failure)
        raise AssertionError("abort returned")

    return handle


async def abort(context: Context, error: TrunklineError) -> None:
    """End the call with `error`; always raises. Trailing metadata that the handler set is kept."""
    status = to_status(error)
    trailing = [*(context.trailing_metadata() or ()), (DETAILS_KEY, status.SerializeToString())]
    # Not abort_with_status: telemetry reads the code that abort leaves in the context.
    await context.abort(grpc.StatusCode[error.code], status.message, tuple(trailing))


def _meant(error: Exception) -> TrunklineError | None:
    """Return the error that the caller is meant to see; of a task group's, the first if all are meant."""
    if isinstance(error, TrunklineError):
        return error
    if isinstance(error, grpc.RpcError):
        return from_rpc_error(error)
    if isinstance(error, ExceptionGroup):
        meant = [_meant(each) for each in error.exceptions]
        return meant[0] if all(meant) else None
    return None


def unforeseen(rpc: Rpc, error: Exception) -> Internal:
    """Log `error` with its traceback under a new id; return what the caller learns, which is only the id."""
    error_id = uuid4().hex[:8]
    _LOGGER.error("%s failed", rpc.full_name, exc_info=error, extra={"error_id": error_id})
    return Internal(
        Reason.INTERNAL, f"internal error {error_id}; the log has its cause", metadata={"error_id": error_id}
    )
