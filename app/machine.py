"""What this machine computes on and how much memory that has, as far as it can be told without torch."""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_BF16_COMPUTE_CAPABILITY = 8.0
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
_SECONDS = 5.0


@dataclass(frozen=True)
class Machine:
    """A device: "cpu", "cuda" or "mps", its memory, and whether it computes in bfloat16, which training then takes."""

    device: str
    memory_bytes: int
    bfloat16: bool


def find_machine(wanted: str = "auto") -> Machine:
    """The device that training will take, by the rules of ``training.base``: CUDA, else MPS, else the CPU."""
    gpu = _gpu() if wanted == "auto" or wanted.startswith("cuda") else None
    if gpu is not None:
        return gpu
    if wanted == "mps" or (wanted == "auto" and sys.platform == "darwin" and platform.machine() == "arm64"):
        return Machine("mps", ram_bytes(), bfloat16=False)
    return Machine("cpu", ram_bytes(), bfloat16=bool(_BF16_FLAGS & _cpu_flags()))


def ram_bytes() -> int:
    """Memory of the machine, or what a container may use of it where that is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(_CGROUP.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or "max"
        return whole


def read_gpu(told: str) -> Machine | None:
    """The first line of ``nvidia-smi``: MiB and compute capability; ``None`` where it is something else."""
    try:
        mebibytes, capability = told.splitlines()[0].split(",")
        return Machine("cuda", int(mebibytes) * 2**20, bfloat16=float(capability) >= _BF16_COMPUTE_CAPABILITY)
    except (IndexError, ValueError):
        return None


@cache
def _gpu() -> Machine | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    question = [program, "--query-gpu=memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(  # noqa: S603 - the driver's own tool, with nothing from outside
            question, capture_output=True, check=False, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return read_gpu(told.stdout)


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line.partition(":")[2] for line in told.splitlines() if line.startswith(("flags", "Features")))
    return frozenset(next(lines, "").split())
