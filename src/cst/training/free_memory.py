"""How much memory is free: asked of the GPU, or of Linux. This file knows no model."""

import os
from pathlib import Path

import torch

from cst.store import read_text


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process may still take on `device`; None where nobody says (a CPU without Linux, other devices).

    On a GPU, what nobody has taken and what torch has taken and doesn't use. The memory of a CPU is shared by the
    processes of a machine that torchrun started together.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    free = free_memory_of_linux() if device.type == "cpu" else None
    return None if free is None else free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def free_memory_of_linux(root: Path = Path("/")) -> int | None:
    """Bytes that may be taken without swapping, and within the container's limit (cgroup v2) where there is one.

    `MemAvailable` and a container's `inactive_file` count what the kernel only caches as free (proc(5), cgroup-v2).
    """
    meminfo, group = root / "proc/meminfo", root / "sys/fs/cgroup"
    if not meminfo.exists():
        return None
    available = _figures(meminfo)["MemAvailable:"] * 1024
    limit = read_text(group / "memory.max").strip() if (group / "memory.max").exists() else "max"
    if limit == "max":
        return available
    held = int(read_text(group / "memory.current")) - _figures(group / "memory.stat")["inactive_file"]
    return min(available, max(int(limit) - held, 0))


def _figures(file: Path) -> dict[str, int]:
    """A file of lines with a name and a number."""
    return {line.split()[0]: int(line.split()[1]) for line in read_text(file).splitlines()}
