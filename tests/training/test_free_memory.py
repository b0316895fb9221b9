from pathlib import Path

import pytest
import torch

from cst.training.free_memory import free_memory, free_memory_of_linux

GB = 2**30


def system(root: Path, *, available: int, limit: str | None = None, held: int = 0, cached: int = 0) -> Path:
    """The files of a Linux with so many bytes available, in a container of a limit or in none."""
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(f"MemTotal:  99999999 kB\nMemAvailable:  {available // 1024} kB\n")
    if limit is not None:
        group = root / "sys/fs/cgroup"
        group.mkdir(parents=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{held}\n")
        (group / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    return root


@pytest.mark.parametrize(
    ("group", "free"),
    [
        ({}, 8 * GB),
        ({"limit": "max"}, 8 * GB),
        ({"limit": str(4 * GB), "held": GB}, 3 * GB),
        ({"limit": str(4 * GB), "held": 3 * GB, "cached": 2 * GB}, 3 * GB),
        ({"limit": str(64 * GB), "held": GB}, 8 * GB),
        ({"limit": str(GB), "held": 2 * GB}, 0),
    ],
    ids=["no container", "no limit", "limit", "cache is free", "machine is smaller", "over the limit"],
)
def test_free_is_what_machine_and_container_leave(group: dict[str, object], free: int, tmp_path: Path):
    assert free_memory_of_linux(system(tmp_path, available=8 * GB, **group)) == free


def test_another_system_says_nothing(tmp_path: Path):
    assert free_memory_of_linux(tmp_path) is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_this_machine_says_something_believable():
    free = free_memory(torch.device("cpu"))
    assert free is not None
    assert 2**20 < free < 2**50


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_torch_has_and_does_not_use_is_free():
    device = torch.device("cuda")
    before = free_memory(device)
    block = torch.empty(2**28, dtype=torch.uint8, device=device)
    assert free_memory(device) <= before - 2**28 + 2**24
    del block
    assert free_memory(device) == pytest.approx(before, abs=2**24)
