from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit import audience, mesh
from services.kit.audience import Audience
from services.kit.errors import InvalidArgument
from services.kit.names import NAME, check_name, is_name
from services.kit.paging import MAX_PAGE_SIZE, page
from services.kit.transport import client_options, server_options, service_config


def test_every_rpc_of_the_contract_has_an_audience():
    assert audience.methods(Audience.UNSPECIFIED) == ()
    assert len(audience.methods()) == sum(len(audience.methods(each)) for each in Audience)


def test_users_cannot_call_what_is_the_operators_or_the_meshs():
    users = {each.full_name for each in audience.methods(Audience.USER)}
    assert "trunkline.inference.v1.InferenceService/Generate" in users
    assert "trunkline.tokenizer.v1.TokenizerService" in audience.services(Audience.USER)
    operators = {each.path for each in audience.methods(Audience.OPERATOR)}
    assert "/trunkline.control.v1.ControlService/SetTraffic" in operators
    assert not any("WorkerService" in each for each in users | operators)


def test_only_marked_rpcs_are_idempotent():
    names = {each.full_name for each in audience.idempotent_methods()}
    assert "trunkline.tokenizer.v1.TokenizerService/Encode" in names
    assert "trunkline.worker.v1.WorkerService/LoadModel" in names
    assert "trunkline.inference.v1.InferenceService/Generate" not in names


def test_the_service_config_retries_the_idempotent_rpcs_only():
    config = json.loads(service_config())
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    (retried,) = config["methodConfig"]
    names = {f"{each['service']}/{each['method']}" for each in retried["name"]}
    assert names == {each.full_name for each in audience.idempotent_methods()}
    assert retried["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_both_ends_set_limits_and_the_pings_that_find_a_frozen_peer():
    for options in (dict(client_options()), dict(server_options())):
        assert options["grpc.max_send_message_length"] == 64 * 1024 * 1024
        assert options["grpc.max_receive_message_length"] == 64 * 1024 * 1024
        assert options["grpc.keepalive_time_ms"] + options["grpc.http2.ping_timeout_ms"] <= 3_000
    assert dict(server_options())["grpc.so_reuseport"] == 0


def test_the_mesh_answers_every_service_of_the_contract_once():
    answered = [service for each in mesh.MESH for service in each.services]
    assert sorted(answered) == sorted(audience.services())
    assert len({each.port for each in mesh.MESH}) == len(mesh.MESH)
    names = {each.name for each in mesh.MESH}
    assert {each.parent for each in mesh.MESH} <= names | {""}


def test_entries_are_found_by_name_and_by_service():
    assert mesh.entry("tokenizer").address == "127.0.0.1:50051"
    assert mesh.owner("trunkline.worker.v1.WorkerService").name == "inference_worker"
    for find in (mesh.entry, mesh.owner):
        with pytest.raises(KeyError, match="nobody"):
            find("nobody")


@pytest.mark.parametrize("name", ["a", "7b", "smollm2-135m-instruct", "a.b_c-d", "x" * 63])
def test_names_are_short_lower_case_and_safe_in_a_path(name: str):
    assert is_name(name)
    assert check_name("model", name) == name


@pytest.mark.parametrize("name", ["", "A", ".a", "-a", "a/b", "a\n", "ä", "x" * 64, "../a", "a b"])
def test_what_is_no_name_is_refused_by_field(name: str):
    assert not is_name(name)
    with pytest.raises(InvalidArgument) as caught:
        check_name("model", name)
    (violation,) = caught.value.violations
    assert violation.field == "model"
    assert NAME in violation.description or not name


@given(st.sets(st.text(max_size=5), max_size=30), st.integers(0, 12))
def test_pages_hold_everything_once_in_order(keys: set[str], size: int):
    seen: list[str] = []
    token = ""
    for _ in range(100):
        items, token = page(keys, lambda key: key, size, token, default=7)
        assert len(items) <= (size or 7)
        seen += items
        if not token:
            break
    assert seen == sorted(keys)


def test_a_page_stays_right_when_items_come_and_go():
    first, token = page(["b", "d", "f"], str, 2, "")
    assert first == ["b", "d"]
    assert page(["a", "c", "e", "f"], str, 2, token) == (["e", "f"], "")


def test_a_page_has_at_most_a_thousand_items():
    items, token = page([f"{number:05}" for number in range(3_000)], str, 2_000, "")
    assert len(items) == MAX_PAGE_SIZE
    assert token
    assert len(page([f"{number:05}" for number in range(3_000)], str, 0, "")[0]) == 100


@pytest.mark.parametrize(("size", "token"), [(-1, ""), (1, "nonsense"), (1, "YWJj"), (1, "ä"), (1, "/w==")])
def test_a_page_that_cannot_be_is_refused(size: int, token: str):
    with pytest.raises(InvalidArgument) as caught:
        page(["a"], str, size, token)
    assert caught.value.violations[0].field in {"page_size", "page_token"}
