"""Build the source distribution, a wheel from it, and check the wheel in a clean environment outside the checkout.

    python scripts/check_wheel.py

The environment sees the packages of the Python that runs this script (torch is not installed a second time), but
`insight` comes from the wheel alone. Only the CPU kernels are built unless FORCE_CUDA says otherwise.
"""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Build, compare contents, install, run."""
    with tempfile.TemporaryDirectory(prefix="insight-wheel-") as name:
        folder = Path(name)
        sdist, wheel = build(folder)
        check_contents(sdist, wheel)
        python = make_environment(folder / "env")
        # Without an index: dependencies that the metadata names must be here already.
        run([python, "-m", "pip", "install", "--quiet", "--no-index", wheel], folder)
        run([python.with_name("insight"), "info"], folder)
        run([python, "-m", "insight", "info"], folder, quiet=True)
        check = (ROOT / "scripts" / "check_installed.py").read_text()
        run([python, "-c", check], folder)
        run([python, "-c", f"import sys; sys.modules['detectron2'] = None\n{check}"], folder)
        try_shipped_models(python, folder)
    print("The wheel and the source distribution are sound.")


def try_shipped_models(python: Path, folder: Path) -> None:
    """Let the installed command answer with the models in the wheel, with no network and an empty cache."""
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "INSIGHT_CACHE": str(folder / "cache")}
    run([python.with_name("insight"), "models"], folder, offline)
    if not (ROOT / "insight" / "hub" / "models" / "sopseg-vit-t" / "config.json").is_file():
        print("no model is shipped by this checkout: no prediction to check")
        return
    draw = "from insight.data.scenes import draw_scene; from insight.data.formats.images import write_png\n"
    run([python, "-c", draw + "write_png('a.png', draw_scene(7, (128, 128)).image)"], folder, offline)
    predict = [python.with_name("insight"), "predict", "a.png", "--device", "cpu", "--output"]
    run([*predict, "masks", "--boxes", "10,10,60,60"], folder, offline)
    if (ROOT / "insight" / "hub" / "models" / "scenes-light" / "config.json").is_file():
        run([*predict, "found"], folder, offline)


def build(folder: Path) -> tuple[Path, Path]:
    """Build both in a folder; `build` makes the wheel from the source distribution."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT]
    run(command, folder, environment={"FORCE_CUDA": "0"} | os.environ, quiet=True)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return sdist, wheel


def check_contents(sdist: Path, wheel: Path) -> None:
    """Compare what was built with what the repository tracks."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = listed.stdout.splitlines()
    with tarfile.open(sdist) as file:
        sources = {name.partition("/")[2] for name in file.getnames()}
    with zipfile.ZipFile(wheel) as file:
        installed = set(file.namelist())
    needed = {name for name in tracked if name.startswith(("csrc/", "configs/", "insight/"))}
    needed |= {"setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "CITATION.cff"}
    expect_all(needed, sources, sdist.name)
    packaged = {f"insight/{name}" for name in needed if name.startswith("configs/")}
    packaged |= {name for name in needed if name.startswith("insight/")} | {"insight/_C.so", "insight/_build.json"}
    packaged -= {name for name in needed if name.startswith("insight/serving/page/")}  # built into serving/static
    expect_all(packaged, installed, wheel.name)
    strays = [name for name in installed if not name.startswith("insight/") and ".dist-info/" not in name]
    strays += [name for name in sources if name.endswith(".so") or name.startswith("tests/")]
    if strays:
        sys.exit(f"files that should not be packaged: {', '.join(sorted(strays))}")


def expect_all(expected: set[str], found: set[str], archive: str) -> None:
    if missing := sorted(expected - found):
        sys.exit(f"{archive}: lacks {', '.join(missing)}")


def make_environment(folder: Path) -> Path:
    """Make an environment that sees this one's packages, but not an editable install of insight; return its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    target = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    # Only folders that a .pth file names directly are searched for modules; the .pth files in them are not read.
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    Path(target, "packages_of_the_builder.pth").write_text("\n".join(paths) + "\n")
    return python


def run(command: list, folder: Path, environment: dict | None = None, quiet: bool = False) -> None:
    """Run a command outside the checkout; if it fails, show its output and stop."""
    env = {name: value for name, value in (environment or os.environ).items() if name != "PYTHONPATH"}
    print(f"$ {' '.join(map(str, command))}" if len(str(command)) < 300 else f"$ {command[0]} -c ...", flush=True)
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode:
        sys.exit(f"{done.stdout or ''}\nfailed with exit code {done.returncode}")


if __name__ == "__main__":
    main()
