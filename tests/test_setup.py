"""What setup.py does about what it needs and does not find, and what it puts into the package."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_setup(code: str, **options) -> subprocess.CompletedProcess:
    """`setup.py --name`, after some code."""
    code = f"import runpy, sys; sys.argv = ['setup.py', '--name']; {code}; runpy.run_path('setup.py')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, **options)


def test_without_torch_it_says_what_to_do():
    done = run_setup("sys.modules['torch'] = None")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "insight needs torch >= 2.10 at build time and found none" in done.stderr
    assert "pip install --no-build-isolation -e ." in done.stderr


def test_an_older_torch_is_named(tmp_path):
    package = tmp_path / "torch"
    (package / "utils").mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '2.9.1+cu128'")
    (package / "utils" / "__init__.py").touch()
    (package / "utils" / "cpp_extension.py").touch()
    done = run_setup(f"sys.path.insert(0, {str(tmp_path)!r})")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "found 2.9.1+cu128" in done.stderr


@pytest.mark.parametrize("missing", [None, "pybind11"])
def test_the_coder_of_masks_finds_its_headers(missing, monkeypatch):
    pytest.importorskip("torch.utils.cpp_extension")
    monkeypatch.setattr(sys, "argv", ["setup.py", "--name"])
    monkeypatch.chdir(ROOT)
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    extension = runpy.run_path("setup.py")["rle_extension"](debug=False)
    assert any(Path(folder, "pybind11", "pybind11.h").is_file() for folder in extension.include_dirs)


def test_the_package_holds_the_configs(tmp_path):
    removed = tmp_path / "insight" / "configs" / "removed.yaml"
    removed.parent.mkdir(parents=True)
    removed.touch()  # of an earlier build
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"INSIGHT_BUILD_OPS": "0"}, check=True)
    configs = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    built = tmp_path / "insight"
    assert configs and {path.relative_to(built / "configs") for path in built.rglob("*.yaml")} == configs
    assert (built / "py.typed").is_file() and not list(built.rglob("*.so"))
