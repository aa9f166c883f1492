"""Bring Detectron2 into the running Python environment, or do nothing where it imports already.

Detectron2 is no package of the index under its own name. With access to GitHub the official way is
    pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2
Without it, this script takes the Python part of Detectron2's main branch from a package that carries it
(sal-detectron2, 2024). insight needs nothing of Detectron2's compiled part, so that is left out and any
Python and torch version will do.
"""

import importlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

CARRIER = "sal-detectron2==0.7.2"


def importable() -> bool:
    """Whether Detectron2 with all that insight uses of it imports here."""
    importlib.invalidate_caches()
    probe = "import detectron2.config, detectron2.engine, detectron2.evaluation, detectron2.model_zoo"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", probe], capture_output=True, text=True)
    if done.returncode and "No module named 'detectron2'" not in done.stderr:
        print(f"detectron2 does not import: {done.stderr.strip().splitlines()[-1]}")
    return done.returncode == 0


def install() -> None:
    """Unpack the package into a temporary folder and move its `detectron2` to where packages live."""
    target = Path(sysconfig.get_paths()["purelib"]) / "detectron2"
    if target.exists():
        sys.exit(
            f"{target} exists but does not import (see the line above): install what is missing with "
            "`pip install -e .[detectron2]`, or remove that folder and run this script again"
        )
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        command += ["--python-version", "3.10", "--implementation", "cp", "--platform", "any"]
        command += ["--only-binary=:all:", CARRIER]
        if subprocess.run(command).returncode:
            sys.exit(f"pip could not fetch {CARRIER}; see docs/install.md for the other ways to get Detectron2")
        package = Path(folder) / "detectron2"
        for compiled in package.glob("_C*.so"):
            compiled.unlink()
        shutil.move(package, target)


def main() -> None:
    """Install Detectron2 if it is missing, and check that it imports then."""
    if importable():
        print("detectron2 is here already")
        return
    install()
    if not importable():
        sys.exit("detectron2 was unpacked but does not import: `pip install -e .[detectron2]` brings what it needs")
    print("detectron2 installed (Python part)")


if __name__ == "__main__":
    main()
