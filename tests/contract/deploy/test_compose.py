"""docker-compose.yml names only what exists: checked without an engine."""

from __future__ import annotations

import copy
import json
from importlib.util import find_spec
from typing import Any

import pytest
from compose_spec import PyCompose

from services.kit.mesh import MONITOR_HTTP_PORT
from tests.contract.deploy.files import ROOT, STARTED, compose, entry_of, stages, variables

COMPOSE = compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
OTHERS = {name: service for name, service in SERVICES.items() if "image" in service}
OTHERS_PORTS = {"jaeger": {16686, 4317}, "prometheus": {9090}}
LISTENING = ("TRUNKLINE_LISTEN", "TRUNKLINE_PUBLIC", "TRUNKLINE_OPERATORS", "TRUNKLINE_METRICS_HTTP")
DIALLED = (
    "TRUNKLINE_TOKENIZER",
    "TRUNKLINE_RECOMMENDER",
    "TRUNKLINE_RL_POLICY",
    "TRUNKLINE_WORKERS",
    "TRUNKLINE_MONITOR",
    "TRUNKLINE_CONTROLLER",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)

every_service = pytest.mark.parametrize("name", SERVICES)
every_service_of_ours = pytest.mark.parametrize("name", OURS)


def test_it_follows_the_compose_specification():
    specification = PyCompose.from_json(json.dumps(COMPOSE))
    specification.validate()
    specification.to_spec()


def test_the_check_refuses_a_misspelt_key():
    wrong = copy.deepcopy(COMPOSE)
    wrong["services"]["gateway"]["healthchek"] = {}
    with pytest.raises(ValueError, match="healthchek"):
        PyCompose.from_json(json.dumps(wrong))


def test_it_has_no_name_of_its_own():
    """docker-compose 1.29 refuses one; the folder's name serves."""
    assert "name" not in COMPOSE


def test_every_process_that_a_platform_starts_is_there():
    assert {entry_of(service) for service in OURS.values()} == set(STARTED)


@every_service_of_ours
def test_its_command_is_the_one_of_its_image(name: str):
    service, entry = OURS[name], entry_of(OURS[name])
    assert entry is not None
    stage = stages()[service["build"]["target"]]
    assert json.loads(stage.of("CMD")[-1]) == service["command"]
    assert find_spec(f"{entry.module}.__main__") is not None


@every_service_of_ours
def test_its_build_arguments_are_known_to_its_image(name: str):
    build = OURS[name]["build"]
    known = {argument.partition("=")[0] for argument in stages()[build["target"]].of("ARG")}
    assert set(build.get("args", {})) <= known


@every_service_of_ours
def test_its_variables_are_settings_of_its_service(name: str):
    entry = entry_of(OURS[name])
    assert entry is not None
    assert set(OURS[name]["environment"]) <= variables(entry)


@every_service_of_ours
def test_it_sets_addresses_and_nothing_else(name: str):
    assert set(OURS[name]["environment"]) <= {*LISTENING, *DIALLED}


@every_service_of_ours
def test_it_listens_on_its_port_of_the_table(name: str):
    entry = entry_of(OURS[name])
    assert entry is not None
    assert OURS[name]["environment"]["TRUNKLINE_LISTEN"] == f"0.0.0.0:{entry.port}"


def listening(name: str) -> set[int]:
    """Return the ports that a service listens on."""
    environment = SERVICES[name].get("environment", {})
    own = {int(environment[key].rpartition(":")[2]) for key in LISTENING if key in environment}
    return own | OTHERS_PORTS.get(name, set())


@every_service_of_ours
def test_whom_it_dials_is_there_and_listens(name: str):
    environment = OURS[name]["environment"]
    for key in set(DIALLED) & set(environment):
        host, _, port = environment[key].rpartition("/")[2].rpartition(":")
        assert int(port) in listening(host), key


@every_service
def test_its_ports_are_published_on_loopback_and_listened_on(name: str):
    for published in SERVICES[name].get("ports", []):
        host, outside, inside = published.split(":")
        assert host == "127.0.0.1"
        assert outside == inside
        assert int(inside) in listening(name)


def test_what_people_open_is_published():
    published = {each.split(":")[1] for service in SERVICES.values() for each in service.get("ports", [])}
    assert published == {"8080", "8081", "16686", "9090"}


@every_service_of_ours
def test_its_health_check_probes_what_it_answers(name: str):
    entry = entry_of(OURS[name])
    assert entry is not None
    check = OURS[name]["healthcheck"]
    form, python, flag, module, address, *service = check["test"]
    assert [form, python, flag, module] == ["CMD", "python", "-m", "services.kit.probe"]
    assert find_spec(module) is not None
    assert int(address.removeprefix("127.0.0.1:")) in listening(name)
    assert set(service) <= set(entry.services)
    assert seconds(check["timeout"]) <= seconds(check["interval"])


@every_service_of_ours
def test_it_is_stopped_in_order_and_started_again(name: str):
    service = OURS[name]
    assert service["init"] is True
    assert service["restart"] == "unless-stopped"
    assert seconds(service["stop_grace_period"]) > 20


@every_service
def test_its_volumes_exist(name: str):
    for volume in SERVICES[name].get("volumes", []):
        source, target, *_ = volume.split(":")
        if source.startswith("."):
            assert (ROOT / source).is_file()
        else:
            assert source in COMPOSE["volumes"]
        if "build" in SERVICES[name]:
            assert target in " ".join(stages()["base"].of("ENV")), "the image says where it keeps things"


def test_every_volume_is_used():
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert set(COMPOSE["volumes"]) <= used


def test_a_gpu_is_reserved_behind_its_profile_only():
    reserving = {name for name, service in SERVICES.items() if "deploy" in service}
    behind = {name for name, service in SERVICES.items() if service.get("profiles") == ["gpu"]}
    assert reserving == behind == {"worker-gpu"}
    (devices,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices["capabilities"] == ["gpu"]


def test_a_gpu_worker_is_found_under_the_name_of_the_others():
    dialled = SERVICES["gateway"]["environment"]["TRUNKLINE_WORKERS"]
    (alias,) = SERVICES["worker-gpu"]["networks"]["default"]["aliases"]
    assert dialled == f"dns:///{alias}:50052"


@pytest.mark.parametrize("name", OTHERS)
def test_an_image_of_others_is_pinned(name: str):
    _, _, tag = OTHERS[name]["image"].partition(":")
    assert tag.strip("v").count(".") == 2


def test_the_monitor_is_scraped_where_it_answers():
    assert MONITOR_HTTP_PORT in listening("monitor")


def seconds(duration: str) -> float:
    """Return a duration of one unit in seconds."""
    return float(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]
