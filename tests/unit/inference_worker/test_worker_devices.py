"""Devices by name, and memory within what the container allows."""

from __future__ import annotations

from pathlib import Path

import psutil

from services.inference_worker.devices import HostInventory, parse_gpus

GIB = 1 << 30

# As the tool's documentation shows it; no GPU was at hand.
TABLE = """\
0, GPU-5a3b, NVIDIA H100 80GB HBM3, 81559, 80994
1, GPU-77c1, NVIDIA H100 80GB HBM3, 81559, 12
2, GPU-dead, NVIDIA H100 80GB HBM3, [N/A], [N/A]
"""


def test_gpus_are_numbered_and_pinned_by_their_uuid():
    first, second = parse_gpus(TABLE)
    assert (first.name, first.description) == ("cuda:0", "NVIDIA H100 80GB HBM3")
    assert (first.total_bytes, first.free_bytes) == (81_559 << 20, 80_994 << 20)
    assert second.environment == {"CUDA_VISIBLE_DEVICES": "GPU-77c1"}


def test_nonsense_names_no_gpu():
    assert parse_gpus("No devices were found\n") == ()


def test_without_a_limit_the_processor_has_the_machines_memory(tmp_path: Path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (*_, cpu) = HostInventory(tmp_path).observe()
    assert cpu.name == "cpu"
    assert "cores" in cpu.description
    assert cpu.threads == 0
    assert cpu.total_bytes == psutil.virtual_memory().total
    assert 0 < cpu.free_bytes <= cpu.total_bytes


def test_a_containers_limit_goes_before_the_machines_memory(tmp_path: Path):
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB // 2}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {GIB // 4}\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (*_, cpu) = HostInventory(tmp_path).observe()
    assert cpu.threads == 2
    assert cpu.total_bytes == GIB
    assert cpu.free_bytes == GIB - GIB // 4
