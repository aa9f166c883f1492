"""Whether Detectron2 is usable in this environment, and installing it where it is not.

PyPI has no Detectron2 under its own name. With access to GitHub, the official way is

    pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2

`install` is for everyone else: it takes the Python part of Detectron2's main branch from a package that carries it
(sal-detectron2, 2024). insight uses nothing of Detectron2's compiled part, so that is left out and any version of
Python and torch will do.
"""

import importlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

from insight.errors import MissingDependencyError

CARRIER = "sal-detectron2==0.7.2"
EXTRA = "pip install 'insight-seg[detectron2]'"
# What Detectron2's Python part imports, by import name; installed by the extra `detectron2`.
DEPENDENCIES = (
    "fvcore",
    "iopath",
    "omegaconf",
    "hydra",
    "yacs",
    "tabulate",
    "termcolor",
    "cloudpickle",
    "tensorboard",
    "portalocker",
    "pkg_resources",
)
_PROBE = "import detectron2.config, detectron2.engine, detectron2.evaluation, detectron2.model_zoo"


def advice(error: ModuleNotFoundError) -> str | None:
    """Return how to install Detectron2 if a failed import was of Detectron2 or one of its dependencies.

    Args:
        error: the error of the import.

    Returns:
        One line; None if the missing module has nothing to do with Detectron2.
    """
    name = (error.name or "").partition(".")[0]
    if name == "detectron2":
        return "needs Detectron2, which is not installed; run `insight install-detectron2` (docs/install.md)"
    if name in DEPENDENCIES:
        return f"needs Detectron2, which needs {name}, which is not installed; run `{EXTRA}`"
    return None


def missing_dependencies() -> list[str]:
    """Return the import names of Detectron2's dependencies that are not installed."""
    return [name for name in DEPENDENCIES if find_spec(name) is None]


def import_problem() -> str | None:
    """Import the parts of Detectron2 that insight uses, in a separate process.

    Returns:
        The last line of the error; None if everything imports.
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _PROBE], capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def install() -> bool:
    """Install Detectron2's Python part into this environment, unless Detectron2 imports already.

    Returns:
        Whether anything was installed.

    Raises:
        MissingDependencyError: a dependency of Detectron2 is missing, a `detectron2` folder is in the way that does not
            import, or pip could not get the package. Nothing was installed then.
    """
    importlib.invalidate_caches()
    problem = import_problem()
    if problem is None:
        return False
    if missing := missing_dependencies():
        raise MissingDependencyError(f"Detectron2 needs {', '.join(missing)}, not installed here; run `{EXTRA}` first")
    target = Path(sysconfig.get_paths()["purelib"]) / "detectron2"
    if target.exists():
        raise MissingDependencyError(f"{target}: does not import ({problem}); remove this folder and try again")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        command += ["--python-version", "3.10", "--implementation", "cp", "--platform", "any"]
        command += ["--only-binary=:all:", CARRIER]
        if subprocess.run(command).returncode:
            raise MissingDependencyError(f"pip could not get {CARRIER}; docs/install.md has other ways")
        package = Path(folder) / "detectron2"
        for compiled in package.glob("_C*.so"):
            compiled.unlink()
        shutil.move(package, target)
    if (problem := import_problem()) is not None:
        raise MissingDependencyError(f"{target}: was installed but does not import ({problem})")
    return True
