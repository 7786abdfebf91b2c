"""Envoy's own replies: each carries a google.rpc.Status with ErrorInfo, as every service's errors do.

A reply is chosen by Envoy's response flags (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/
access_log/usage#response-flags). `grpc_status` refuses a Status whose message differs from `grpc-message`, so
the body, of which Envoy makes that trailer, is the Status's message.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from google.rpc.code_pb2 import Code

from services.kit.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    Reason,
    TrunklineError,
    Unavailable,
    Unimplemented,
)
from services.kit.status import DETAILS_KEY, to_status

TENSOR_PREFIX = "/inference.GRPCInferenceService/"
MODEL_HEADER = "x-model-name"

_LOST = "The service that answers this rpc cannot be reached now, or was lost while it answered."
# Flags of a connection that failed, ended or was reset, of a full circuit breaker, and of an unresolved name.
_LOST_FLAGS = ("UF", "UC", "UR", "LR", "UO", "UPE", "URX", "DF")


def local_reply_config() -> dict[str, Any]:
    """Return the `LocalReplyConfig` of both listeners; the first mapper that fits decides."""
    not_ready = Unavailable(
        Reason.MODEL_NOT_READY,
        "The model is known, but no worker has it ready: it is loading, or its workers are down.",
        metadata={"flags": "UH"},
    )
    replies = [
        (_flag("NR"), 404, _not_served()),
        (_flag("NC"), 404, _no_such_model()),
        (_both(_flag("UH"), _header_filter(":path", TENSOR_PREFIX)), 503, not_ready),
        (_flag("UH"), 503, _unavailable("UH", "No healthy instance answers this rpc now.")),
        *((_flag(flag), 503, _unavailable(flag, _LOST)) for flag in _LOST_FLAGS),
        *((_flag(flag), 504, _too_late()) for flag in ("DT", "UT", "UMSDR")),
        (_status_from(500), 503, _unavailable("", _LOST)),
        (_status_from(400), 400, _malformed()),
    ]
    return {"mappers": [mapper for reply in replies for mapper in _mappers(*reply)]}


def _not_served() -> TrunklineError:
    return Unimplemented(Reason.RPC_NOT_SERVED, "No rpc of this name is served at this port.")


def _no_such_model() -> TrunklineError:
    message = (
        f"No model of this name is known here: the header {MODEL_HEADER} must name one that ListModels gives."
    )
    return NotFound(Reason.MODEL_NOT_FOUND, message)


def _unavailable(flag: str, message: str) -> TrunklineError:
    return Unavailable(Reason.SERVICE_UNAVAILABLE, message, metadata={"flags": flag} if flag else {})


def _too_late() -> TrunklineError:
    return DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "The deadline has passed.")


def _malformed() -> TrunklineError:
    return InvalidArgument(Reason.REQUEST_MALFORMED, "The gateway does not understand this request.")


def _mappers(chosen_by: dict[str, Any], http_status: int, error: TrunklineError) -> list[dict[str, Any]]:
    """Return the reply for gRPC-Web and the one for gRPC and everything else.

    Envoy's gRPC-Web filter takes a reply for one of gRPC only if it is HTTP 200 without a body; else it makes
    a status of its own from the HTTP status.
    """
    status = to_status(error)
    details = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
    code = str(Code.Value(error.code))
    headers = [_header("grpc-status", code), _header(DETAILS_KEY, details)]
    message = _header("grpc-message", quote(status.message, safe=" ,.:;'()"))
    web = _both(chosen_by, {"header_filter": {"header": {"name": "x-grpc-web", "present_match": True}}})
    return [
        _mapper(web, 200, [*headers, message], ""),
        _mapper(chosen_by, http_status, headers, status.message),
    ]


def _mapper(chosen_by: dict[str, Any], http_status: int, headers: list[Any], body: str) -> dict[str, Any]:
    text = body.replace("%", "%%")
    return {
        "filter": chosen_by,
        "status_code": http_status,
        "headers_to_add": headers,
        "body_format_override": {"text_format_source": {"inline_string": text}},
    }


def _header(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _flag(flag: str) -> dict[str, Any]:
    return {"response_flag_filter": {"flags": [flag]}}


def _header_filter(name: str, prefix: str) -> dict[str, Any]:
    return {"header_filter": {"header": {"name": name, "string_match": {"prefix": prefix}}}}


def _both(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": list(filters)}}


def _status_from(code: int) -> dict[str, Any]:
    value = {"default_value": code, "runtime_key": "trunkline.unused"}
    return {"status_code_filter": {"comparison": {"op": "GE", "value": value}}}
