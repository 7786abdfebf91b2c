from __future__ import annotations

import grpc
import pytest
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from trunkline.error.v1 import error_reason_pb2

from services.kit import errors
from services.kit.errors import Reason, TrunklineError, Violation
from services.kit.status import DETAILS_KEY, DOMAIN, from_rpc_error, from_status, to_status

CLASSES = TrunklineError.__subclasses__()


def test_the_reasons_are_those_of_the_contract():
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert {str(reason) for reason in Reason} == names - {"UNSPECIFIED"}


def test_each_class_of_error_is_a_status_code_of_grpc():
    codes = {cls.code for cls in CLASSES}
    assert codes < {code.name for code in grpc.StatusCode}
    assert len(codes) == len(CLASSES) == 13


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_comes_back_as_it_was(cls: type[TrunklineError]):
    error = cls(
        Reason.QUEUE_FULL,
        "sätze",
        metadata={"model": "m"},
        violations=[Violation("texts[3]", "must not be empty")],
        retry_after=2.5,
    )
    back = from_status(to_status(error))
    assert type(back) is cls
    assert (back.reason, back.message, back.metadata) == (error.reason, error.message, error.metadata)
    assert (back.violations, back.retry_after) == (error.violations, error.retry_after)
    assert isinstance(back.reason, Reason)


def test_a_wrong_field_is_one_violation_and_a_sentence():
    error = errors.invalid("top_p", "must be at most 1, not 2")
    assert (error.code, error.reason, error.message) == (
        "INVALID_ARGUMENT",
        Reason.FIELD_INVALID,
        "top_p must be at most 1, not 2",
    )
    assert repr(error) == "InvalidArgument('FIELD_INVALID', 'top_p must be at most 1, not 2')"
    bad = BadRequest()
    assert any(detail.Unpack(bad) for detail in to_status(error).details)
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("top_p", "must be at most 1, not 2")
    ]


@pytest.mark.parametrize(
    ("cls", "seconds"), [(errors.ResourceExhausted, 1), (errors.Unavailable, 1), (errors.NotFound, None)]
)
def test_what_may_be_retried_says_when(cls: type[TrunklineError], seconds: int | None):
    retry = RetryInfo()
    found = any(detail.Unpack(retry) for detail in to_status(cls(Reason.DRAINING, "")).details)
    assert (retry.retry_delay.seconds if found else None) == seconds


def test_a_reason_that_this_build_does_not_know_is_kept():
    status = Status(code=5, message="no such thing")
    status.details.add().Pack(ErrorInfo(reason="THING_NOT_FOUND", domain=DOMAIN))
    error = from_status(status)
    assert (type(error), error.reason) == (errors.NotFound, "THING_NOT_FOUND")
    assert from_status(to_status(error)).reason == "THING_NOT_FOUND"


@pytest.mark.parametrize(
    ("code", "cls", "reason"),
    [
        ("UNAVAILABLE", errors.Unavailable, Reason.SERVICE_UNAVAILABLE),
        ("UNIMPLEMENTED", errors.Unimplemented, Reason.RPC_NOT_SERVED),
        ("DEADLINE_EXCEEDED", errors.DeadlineExceeded, Reason.DEADLINE_EXCEEDED),
        ("CANCELLED", errors.Cancelled, Reason.CANCELLED),
        ("RESOURCE_EXHAUSTED", errors.ResourceExhausted, Reason.MESSAGE_TOO_LARGE),
        ("OUT_OF_RANGE", errors.InvalidArgument, Reason.FIELD_INVALID),
        ("NOT_FOUND", errors.NotFound, Reason.INTERNAL),
        ("UNKNOWN", errors.Internal, Reason.INTERNAL),
        ("DATA_LOSS", errors.Internal, Reason.INTERNAL),
    ],
)
def test_a_status_without_details_has_the_class_of_its_code(
    code: str, cls: type[TrunklineError], reason: Reason
):
    raised = grpc.aio.AioRpcError(grpc.StatusCode[code], details="ipv4:10.0.0.7:50051 refused")
    error = from_rpc_error(raised)
    assert (type(error), error.reason) == (cls, reason)
    assert error.__cause__ is raised


def test_details_that_are_no_status_are_as_none():
    metadata = grpc.aio.Metadata((DETAILS_KEY, b"\xff\xff"))
    error = from_rpc_error(grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, None, metadata))
    assert error.reason == Reason.SERVICE_UNAVAILABLE


@given(
    st.text(),
    st.dictionaries(st.text(max_size=10), st.text(), max_size=3),
    st.lists(st.builds(Violation, st.text(), st.text()), max_size=100),
)
def test_whatever_a_client_puts_into_an_error_fits_into_a_trailer(
    message: str, metadata: dict[str, str], violations: list[Violation]
):
    long = 1 + 40 * len(violations)
    error = errors.InvalidArgument(
        Reason.FIELD_INVALID, message * long, metadata=metadata, violations=violations * long
    )
    status = to_status(error)
    assert len(status.SerializeToString()) < 8_000
    assert Code.Name(status.code) == "INVALID_ARGUMENT"


def test_half_a_character_is_not_sent():
    assert to_status(errors.Internal(Reason.INTERNAL, "\ud800")).message == "?"
    assert to_status(errors.Internal(Reason.INTERNAL, "ä" * 1_000)).message == "ä" * 250 + "…"


def test_a_stream_that_a_proxy_reset_was_lost_and_is_no_fault_of_a_service():
    error = from_status(Status(code=Code.INTERNAL, message="Received RST_STREAM with error code 2"))
    assert (error.code, error.reason) == ("UNAVAILABLE", Reason.SERVICE_UNAVAILABLE)
