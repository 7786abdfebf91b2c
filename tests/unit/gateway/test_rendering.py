"""What is rendered for Envoy follows the marks in the descriptors."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from gateway.envoy.places import Endpoint, Places, parse_endpoint
from gateway.envoy.replies import local_reply_config
from gateway.envoy.routes import OPERATORS, PUBLIC, TENSOR_PREFIX, route_configuration
from services.kit.audience import Audience, methods
from services.kit.errors import Reason

EVERYWHERE = Places(
    public=Endpoint("127.0.0.1", 8080),
    operators=Endpoint("127.0.0.1", 8081),
    services={
        name: (Endpoint("127.0.0.1", 1),)
        for name in ("front", "tokenizer", "recommender", "rl_policy", "monitor", "gateway")
    },
)


def routes(listener: str, places: Places = EVERYWHERE) -> list[dict[str, Any]]:
    (host,) = route_configuration(listener, places)["virtual_hosts"]
    found: list[dict[str, Any]] = host["routes"]
    return found


def exact_paths(listener: str, places: Places = EVERYWHERE) -> set[str]:
    return {route["match"]["path"] for route in routes(listener, places) if "path" in route["match"]}


def test_each_port_has_a_route_for_just_the_rpcs_of_its_audience() -> None:
    users = {method.path for method in methods(Audience.USER)}
    operators = {method.path for method in methods(Audience.OPERATOR)}
    assert exact_paths(PUBLIC) == users
    assert exact_paths(OPERATORS) == users | operators
    assert operators


def test_a_service_that_is_nowhere_has_no_routes() -> None:
    without = {name: at for name, at in EVERYWHERE.services.items() if name != "monitor"}
    places = Places(public=EVERYWHERE.public, operators=EVERYWHERE.operators, services=without)
    assert not [path for path in exact_paths(OPERATORS, places) if "monitor" in path]
    assert [path for path in exact_paths(OPERATORS) if "monitor" in path]


def test_only_idempotent_rpcs_are_repeated_once_they_were_sent() -> None:
    by_path = {route["match"]["path"]: route for route in routes(OPERATORS) if "path" in route["match"]}
    for method in methods():
        if method.path in by_path:
            repeated = by_path[method.path]["route"]["retry_policy"]["retry_on"].split(",")
            assert ("reset" in repeated) is method.idempotent, method
            assert ("unavailable" in repeated) is method.idempotent, method


def test_no_route_has_a_time_limit() -> None:
    for route in routes(OPERATORS):
        assert route["route"]["timeout"] == "0s"
        assert "max_stream_duration" not in route["route"]


def test_no_route_shuts_grpc_web_out() -> None:
    assert not [
        route for listener in (PUBLIC, OPERATORS) for route in routes(listener) if "grpc" in route["match"]
    ]


def test_one_route_finds_every_model_by_a_header_that_goes_no_further() -> None:
    (tensors,) = [route for route in routes(PUBLIC) if route["match"].get("prefix") == TENSOR_PREFIX]
    header = tensors["route"]["cluster_header"]
    assert header in route_configuration(PUBLIC, EVERYWHERE)["request_headers_to_remove"]


def test_health_and_reflection_are_not_traced() -> None:
    plumbing = [route for route in routes(PUBLIC) if route["match"].get("prefix", "").startswith("/grpc.")]
    assert len(plumbing) == 3
    assert all(route["tracing"]["overall_sampling"] == {"numerator": 0} for route in plumbing)


def test_every_reply_of_envoys_own_carries_a_reason_that_the_contract_knows() -> None:
    for mapper in local_reply_config()["mappers"]:
        headers = {each["header"]["key"]: each["header"]["value"] for each in mapper["headers_to_add"]}
        encoded = headers["grpc-status-details-bin"]
        status = Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
        info = ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.reason in Reason.__members__
        assert info.domain == "trunkline.dev"
        assert headers["grpc-status"] == str(status.code)
        body = mapper["body_format_override"]["text_format_source"]["inline_string"]
        assert body.replace("%%", "%") in {status.message, ""}


def test_what_is_rendered_is_json() -> None:
    assert json.loads(json.dumps(route_configuration(PUBLIC, EVERYWHERE)))


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("127.0.0.1:50051", Endpoint("127.0.0.1", 50051)),
        ("tokenizer:1", Endpoint("tokenizer", 1)),
        ("dns:///worker:50052", Endpoint("worker", 50052)),
        ("http://jaeger:4317/", Endpoint("jaeger", 4317)),
        ("[::1]:8080", Endpoint("::1", 8080)),
    ],
)
def test_addresses_in_all_their_forms_name_an_endpoint(address: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(address) == endpoint
    assert parse_endpoint(endpoint.address) == endpoint


@pytest.mark.parametrize("address", ["", "8080", ":8080", "host:", "host:port", "host:0", "host:70000"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_endpoint(address)
