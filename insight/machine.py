"""The machine: which device to use, and what a measurement must be told with."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

from .version import __version__


def describe_machine(device: torch.device) -> dict[str, str | int | None]:
    """What a number must be told with.

    Args:
        device: that did the work.

    Returns:
        The keys date (UTC), commit, machine, cpu, cores, threads, device, gpu (None on the CPU), python, torch and
        insight.
    """
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


def parse_device(name: str) -> torch.device:
    """The device that a person asks a tool for.

    Args:
        name: what was given as --device: cpu, cuda or cuda:N; empty for cuda where there is one.

    Returns:
        The device.

    Raises:
        ValueError: no such kind of device, or no such GPU here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(f"--device {name}: expected cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise ValueError(f"--device {name}: there is no such GPU that torch can use; see python -m insight.info")
    return device


def commit() -> str:
    """The commit of the code that runs, "with changes" if there are some, or "unknown"."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def cpu_name() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
