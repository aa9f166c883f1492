"""Build the compiled extensions.

`insight/_C.so`: all C++ and CUDA operators, on torch's stable ABI; one file for all versions of Python.
`insight/_rle.*.so`: the run-length coder, with pybind11; one file per version of Python.

Environment:
    INSIGHT_BUILD_OPS=0    build nothing; insight falls back to PyTorch and NumPy
    FORCE_CUDA=1           build the CUDA kernels on a machine without a GPU (needs nvcc)
    FORCE_CUDA=0           never build them
    TORCH_CUDA_ARCH_LIST   architectures, as torch reads it; default: the local GPUs, else "9.0+PTX"
    CUDA_HOME              folder of the CUDA toolkit; default: /usr/local/cuda if nvcc is there
    DEBUG=1                no optimisation, debug symbols
    MAX_JOBS               compiler processes at once
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()

# torch guesses CUDA_HOME from the nvcc on PATH, which is wrong where that is a link or a wrapper.
if "CUDA_HOME" not in os.environ and Path("/usr/local/cuda/bin/nvcc").is_file():
    os.environ["CUDA_HOME"] = "/usr/local/cuda"

try:
    import torch
    from torch.utils import cpp_extension
except ImportError:
    sys.exit(
        "insight needs torch >= 2.10 at build time and found none. Do:\n"
        "    pip install torch torchvision\n"
        "    pip install --no-build-isolation -e .\n"
        "(see docs/install.md)"
    )
if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10):
    sys.exit(
        f"insight needs torch >= 2.10 at build time and found {torch.__version__}: pip install -U torch torchvision "
        "(see docs/install.md)"
    )


def nvcc_version():
    """Release of the nvcc that torch would call, as "13.0", or None where there is none."""
    home = cpp_extension.CUDA_HOME
    nvcc = Path(home, "bin", "nvcc") if home else None
    if nvcc is None or not nvcc.is_file():
        return None
    text = subprocess.run([str(nvcc), "--version"], capture_output=True, text=True).stdout
    return text.split("release ")[-1].split(",")[0] if "release " in text else None


def wants_cuda():
    """Whether to build the CUDA kernels: by FORCE_CUDA, the GPU and the compiler. Explains a refusal."""
    force = os.environ.get("FORCE_CUDA")
    if force == "0":
        return False
    nvcc = nvcc_version()
    if torch.version.cuda is None or nvcc is None:
        if force == "1":
            sys.exit(
                f"FORCE_CUDA=1 needs a CUDA build of torch (have cuda={torch.version.cuda}) and nvcc "
                f"(CUDA_HOME={cpp_extension.CUDA_HOME}): install them, or unset FORCE_CUDA"
            )
        return False
    if nvcc.split(".")[0] != torch.version.cuda.split(".")[0]:
        message = f"nvcc {nvcc} does not match torch's CUDA {torch.version.cuda}"
        if force == "1":
            sys.exit(f"{message}: install the matching toolkit, or unset FORCE_CUDA")
        print(f"insight: {message}; building the CPU kernels only", file=sys.stderr)
        return False
    return force == "1" or torch.cuda.is_available()


def gpu_archs():
    """Compute capabilities of the local GPUs, such as "8.6 9.0"."""
    found = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    return " ".join(f"{major}.{minor}" for major, minor in sorted(found))


def ops_extension(debug):
    """The operators, and a record of how they are built."""
    cuda = wants_cuda()
    if cuda and "TORCH_CUDA_ARCH_LIST" not in os.environ and not torch.cuda.is_available():
        os.environ["TORCH_CUDA_ARCH_LIST"] = "9.0+PTX"
    sources = ["csrc/ops.cpp", *sources_in("csrc/cpu", "*.cpp")]
    # The stable ABI of torch 2.10: one binary for every later torch and every Python.
    defines = [("TORCH_STABLE_ONLY", None), ("TORCH_TARGET_VERSION", "0x020a000000000000")]
    flags = {"cxx": cxx_flags(debug)}
    make = cpp_extension.CppExtension
    if cuda:
        make = cpp_extension.CUDAExtension
        sources += sources_in("csrc/cuda", "*.cu")
        defines += [("USE_CUDA", None)]
        flags["nvcc"] = ["-O3", "--expt-relaxed-constexpr", "-lineinfo"]
        if debug:
            flags["nvcc"] += ["-G"]
    extension = make(
        "insight._C",
        sources,
        include_dirs=[str(ROOT / "csrc")],
        define_macros=defines,
        extra_compile_args=flags,
        py_limited_api=True,
    )
    extension.built_with = {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "backends": ["cpu", "cuda"] if cuda else ["cpu"],
        "cuda": nvcc_version() if cuda else None,
        "cuda_archs": os.environ.get("TORCH_CUDA_ARCH_LIST") or gpu_archs() if cuda else None,
        "debug": debug,
    }
    return extension


def rle_extension(debug):
    """The run-length coder."""
    try:
        from pybind11 import get_include

        pybind11_headers = get_include()
    except ImportError:
        pybind11_headers = str(Path(torch.__file__).parent / "include")  # torch brings them along
    return Extension(
        "insight._rle",
        sources_in("csrc/rle", "*.cpp"),
        include_dirs=[str(ROOT / "csrc"), pybind11_headers],
        # No fused multiply-adds: a pixel at the threshold is decided as in the NumPy fallback.
        extra_compile_args=[*cxx_flags(debug), "-ffp-contract=off"],
        language="c++",
    )


def sources_in(folder, pattern):
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / folder).glob(pattern))


def cxx_flags(debug):
    return ["-O0", "-g"] if debug else ["-O3", "-fvisibility=hidden", "-Wall"]


def extensions():
    if os.environ.get("INSIGHT_BUILD_OPS", "1") == "0":
        return []
    debug = os.environ.get("DEBUG") == "1"
    return [ops_extension(debug), rle_extension(debug)]


class BuildExtensions(cpp_extension.BuildExtension):
    """Omit the Python version from the name of `_C.so`, which does not depend on it, and keep it in that of `_rle`.

    How `_C.so` was built is recorded next to it, in `_build.json`, for `insight info`.
    """

    def run(self):
        self.force = True  # setuptools would keep a build with other options; ninja recompiles only what changed
        super().run()
        for extension in self.extensions:
            if extension.name == "insight._C":
                # Written last: a failed build leaves the record of the library that is still there.
                record = Path(self.get_ext_fullpath(extension.name)).with_name("_build.json")
                record.write_text(json.dumps(extension.built_with, indent=1) + "\n")

    def get_ext_filename(self, name):
        self.no_python_abi_suffix = not name.endswith("_rle")
        return super().get_ext_filename(name)


class BuildPython(build_py):
    """Copy `configs/` into the package, as `insight/configs/`; an editable install reads it in place."""

    def run(self):
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "insight", "configs")
            shutil.rmtree(target, ignore_errors=True)  # a config that was renamed since an earlier build
            shutil.copytree(ROOT / "configs", target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildExtensions, "build_py": BuildPython},
)
