"""`insight info`: versions, machine, compiled library and operators, for bug reports."""

import importlib
import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from insight.runtime.detectron2_install import EXTRA, missing_dependencies
from insight.runtime.machine import cpu_name

from . import __version__, ops
from .ops import _ext
from .structures import _rle_ext

# Import name, and the name of the distribution if the module has no __version__.
PACKAGES = {
    "torchvision": None,
    "detectron2": None,
    "timm": None,
    "faster_coco_eval": None,
    "pycocotools": "pycocotools",
    "numpy": None,
    "cv2": None,
}
# Reported besides INSIGHT_*, because they change how the library is built, found or run.
VARIABLES = (
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "FORCE_CUDA",
    "TORCH_CUDA_ARCH_LIST",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "OMP_NUM_THREADS",
    "DETECTRON2_DATASETS",
)


def collect() -> dict[str, dict[str, str]]:
    """Collect the report. Missing or broken packages are reported, not raised.

    Returns:
        Names and values by section: versions, machine, library, ops, environment.
    """
    return {
        "versions": _versions(),
        "machine": _machine(),
        "library": _library(),
        "ops": _ops(),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith("INSIGHT_") or name in VARIABLES
        },
    }


def _versions() -> dict[str, str]:
    versions = {
        "insight": f"{__version__} ({Path(__file__).parent})",
        "python": platform.python_version(),
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda or 'no'}",
    }
    return versions | {name: _version(name, distribution) for name, distribution in PACKAGES.items()}


def _version(name: str, distribution: str | None) -> str:
    try:
        module = importlib.import_module(name)
        version = module.__version__ if distribution is None else metadata.version(distribution)
    except Exception as error:  # importing a broken package may raise anything
        advice = "; run `insight install-detectron2`" if name == "detectron2" else ""
        return f"missing: {_one_line(error)}{advice}"
    if name == "detectron2" and (lacking := missing_dependencies()):
        return f"{version}, not usable without {', '.join(lacking)}; run `{EXTRA}`"
    return version


def _machine() -> dict[str, str]:
    machine = {
        "platform": platform.platform(),
        "cpu": f"{cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads",
    }
    if not torch.cuda.is_available():
        return machine | {"gpu": "none available to torch"}
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        machine[f"gpu {i}"] = f"{gpu.name}, sm_{gpu.major}{gpu.minor}, {gpu.total_memory / 2**30:.0f} GiB"
    return machine


def _library() -> dict[str, str]:
    built = {f"built with {key}": _text(value) for key, value in _ext.build_info().items()}
    coder = "compiled" if _rle_ext.COMPILED else f"NumPy fallback: {_rle_ext.LOAD_ERROR}"
    return {"loaded": "yes" if ops.has_ops() else f"no: {_ext.LOAD_ERROR}"} | built | {"run-length coder": coder}


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _ops() -> dict[str, str]:
    """The implementation of each public operator on the CPU and on CUDA, according to the dispatcher."""
    registered = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("insight::")]

    def implementation(op: str, key: str) -> str:
        own = [name for name in registered if name == f"insight::{op}" or name.startswith(f"insight::{op}_")]
        compiled = own and all(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for name in own)
        return "compiled" if compiled else "PyTorch fallback"

    public = [name for name in ops.__all__ if hasattr(ops.reference, name)]
    return {op: ", ".join(f"{key.lower()}: {implementation(op, key)}" for key in ("CPU", "CUDA")) for op in public}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def report(sections: dict[str, dict[str, str]]) -> str:
    """Format the sections as text.

    Args:
        sections: the output of `collect`.

    Returns:
        One line per section title and per value, without a final newline.
    """
    width = max(len(name) for values in sections.values() for name in values)
    lines = []
    for section, values in sections.items():
        lines += [section, *(f"    {name:<{width}}  {value}" for name, value in values.items())]
    return "\n".join(lines)


def main() -> None:
    """Print the report."""
    print(report(collect()))


if __name__ == "__main__":
    main()
