"""Memory of a run: its peak, and running out of it."""

import resource
import sys

import torch


def peak_bytes(device: torch.device) -> int:
    """Most bytes in use so far: of the device's allocator, or resident in this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def ran_out(error: RuntimeError) -> bool:
    """Whether this is what torch says when memory is used up; on MPS and the CPU it is told by its words alone."""
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "can't allocate memory" in said


def give_back(device: torch.device) -> None:
    """Return what the allocator holds in reserve, so that smaller pieces find room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
