"""Peak memory of a run."""

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
