"""Where and when a figure was measured: without it, a figure can't be compared with another."""

import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import torch

from cst.store import version

PACKAGES = ("torch", "transformers", "peft", "trl")


def provenance(device: str, threads: int) -> dict[str, object]:
    """Machine, threads, date (UTC) and versions, to be put into a line of JSON."""
    return {
        "machine": machine(device),
        "threads": threads,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def machine(device: str) -> str:
    """The name of the processor or GPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
