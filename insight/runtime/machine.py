"""The machine: which device to use, and the metadata recorded with every measurement."""

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from insight.errors import InputError
from insight.version import __version__

if TYPE_CHECKING:  # slow to import; the command line is checked without it
    import torch


def describe_machine(device: "torch.device") -> dict[str, str | int | None]:
    """Return the metadata recorded with every measurement.

    Args:
        device: device that did the work.

    Returns:
        The keys date (UTC), commit, machine, cpu, cores, threads, device, gpu (None on the CPU), python, torch and
        insight.
    """
    import torch

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "insight": __version__,
    }


def is_device_name(name: str) -> bool:
    """Return whether a device name is cpu, cuda or cuda:N; torch accepts more, such as mps, meta and cpu:3.

    Args:
        name: name of the device.
    """
    return re.fullmatch(r"cpu|cuda(:(0|[1-9]\d?))?", name) is not None


def check_device_name(name: str, argument: str = "device") -> None:
    """Check the name of a device, but not that the device exists.

    Args:
        name: cpu, cuda or cuda:N; empty for the default.
        argument: name of the argument, for the error.

    Raises:
        InputError: an unknown kind of device.
    """
    if name and not is_device_name(name):
        raise InputError(f"{argument}: expected cpu, cuda or cuda:N, got {name}")


def parse_device(name: str, argument: str = "device") -> "torch.device":
    """Parse the name of a device and check that the device exists.

    Args:
        name: cpu, cuda or cuda:N; empty for cuda if there is a GPU and cpu otherwise.
        argument: name of the argument, for the error.

    Returns:
        The device.

    Raises:
        InputError: an unknown kind of device, or a GPU that does not exist.
    """
    check_device_name(name, argument)
    import torch

    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise InputError(f"{argument}: there is no GPU {name} that torch can use; see `insight info`")
    return device


def free_memory(device: "torch.device", root: Path = Path("/")) -> int | None:
    """Return the memory that can still be allocated.

    On a CPU: what is available without swapping, or what a container's limit leaves if that is less; beyond it Linux
    ends a process instead of refusing the memory. On a GPU: what is free, plus what torch's allocator holds unused.

    Args:
        device: the device.
        root: root of the file system that holds /proc and /sys.

    Returns:
        Bytes, or None if the system does not say.
    """
    if device.type == "cuda":
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        available = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        return max(0, min([*available, *_left_in_containers(root)]))
    except (OSError, ValueError):  # not Linux
        return None


def _left_in_containers(root: Path) -> Iterator[int]:
    """Bytes left by each limited control group of this process, its own and those around it."""
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base, limit, usage, cache = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "
        elif "memory" in controllers.split(","):  # version 1
            base, limit, usage = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file "
        else:
            continue
        own = PurePosixPath(path)
        for group in (own, *own.parents):
            folder = root / base / group.relative_to("/")
            try:
                left = int((folder / limit).read_text()) - int((folder / usage).read_text())
                statistics = (folder / "memory.stat").read_text().splitlines()
            except (OSError, ValueError):  # a path of the host, not seen from inside; or "max", no limit
                continue
            yield left + sum(int(line.split()[1]) for line in statistics if line.startswith(cache))


def commit() -> str:
    """Return the commit of the running code, followed by "with changes" if any; "unknown" outside git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def cpu_name() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
