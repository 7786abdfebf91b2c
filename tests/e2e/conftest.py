"""One mesh for the whole run, in float32 so that its answers can be compared to the last bit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from tests.e2e.harness import RunningMesh, mesh_environment, running_mesh


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e" in str(item.path):
            item.add_marker("e2e")


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    folder = tmp_path_factory.mktemp("mesh")
    environment = mesh_environment(folder, TRUNKLINE_DTYPE="float32")
    with running_mesh(environment, folder / "up.log") as mesh:
        yield mesh


@pytest.fixture
def mesh_address(mesh: RunningMesh) -> str:
    return mesh.public


@pytest.fixture
async def channel(mesh: RunningMesh) -> AsyncIterator[grpc.aio.Channel]:
    limits = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    async with grpc.aio.insecure_channel(mesh.public, options=limits) as channel:
        yield channel


@pytest.fixture
async def operator_channel(mesh: RunningMesh) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(mesh.operators) as channel:
        yield channel
