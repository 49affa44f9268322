"""What this machine has, by what the system says of itself."""

import os
from pathlib import Path

import pytest

from app import machine
from app.machine import Machine, find_machine, ram_bytes, read_gpu


def test_the_first_gpu_is_read_with_its_memory_and_whether_it_computes_in_bfloat16() -> None:
    assert read_gpu("24564, 8.9\n81559, 9.0\n") == Machine("cuda", 24564 * 2**20, bfloat16=True)
    assert read_gpu("15360, 7.5\n") == Machine("cuda", 15360 * 2**20, bfloat16=False)


@pytest.mark.parametrize("told", ["", "No devices were found\n", "[N/A], 8.9\n", "24564\n"])
def test_anything_else_is_no_gpu(told: str) -> None:
    assert read_gpu(told) is None


def test_without_a_gpu_it_is_the_cpu_and_the_memory_of_the_machine() -> None:
    found = find_machine("cpu")
    assert (found.device, found.memory_bytes) == ("cpu", ram_bytes())


def test_a_container_has_what_it_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CGROUP", limit)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert ram_bytes() == whole  # no such file
    for written, expected in (("1000000\n", 1_000_000), ("max\n", whole), (f"{2 * whole}\n", whole)):
        limit.write_text(written, encoding="ascii")
        assert ram_bytes() == expected


def test_a_gpu_is_asked_through_its_own_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '24564, 8.9'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    machine._gpu.cache_clear()
    try:
        assert find_machine() == Machine("cuda", 24564 * 2**20, bfloat16=True)
        assert find_machine("cpu").device == "cpu"
    finally:
        machine._gpu.cache_clear()
