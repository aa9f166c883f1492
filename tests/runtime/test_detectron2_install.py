"""Installing Detectron2: what it does where it is whole, half installed or in the way, without any network."""

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from insight.errors import MissingDependencyError
from insight.runtime import detectron2_install
from insight.runtime.detectron2_install import CARRIER, DEPENDENCIES, advice, install


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment whose packages live in a folder; pip notes what it is asked for and lays a package there."""
    asked = []
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"purelib": str(tmp_path)})
    monkeypatch.setattr(
        detectron2_install, "import_problem", lambda: None if (tmp_path / "detectron2").exists() else "no"
    )

    def pip(command, **options):
        asked.append(command)
        package = tmp_path / command[command.index("--target") + 1] / "detectron2"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "_C.cpython-310.so").touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    return tmp_path, asked


def test_a_detectron2_that_imports_is_left_alone(monkeypatch):
    pytest.importorskip("detectron2")
    monkeypatch.setattr(detectron2_install.shutil, "move", None)
    assert install() is False


def test_the_python_part_alone_is_installed(environment):
    folder, asked = environment
    assert install() is True
    assert [path.name for path in folder.iterdir()] == ["detectron2"]
    assert [path.name for path in (folder / "detectron2").iterdir()] == ["__init__.py"]
    assert asked[0][-1] == CARRIER and "--no-deps" in asked[0]


def test_dependencies_are_looked_for_before_anything_is_unpacked(environment, monkeypatch):
    folder, asked = environment
    monkeypatch.setitem(sys.modules, "fvcore", None)
    monkeypatch.setattr(detectron2_install, "find_spec", lambda name: None if name == "fvcore" else object())
    with pytest.raises(MissingDependencyError, match=r"^Detectron2 needs fvcore, not installed here; run `pip install"):
        install()
    assert not asked and not list(folder.iterdir())


def test_a_folder_in_the_way_is_named_and_kept(environment, monkeypatch):
    folder, asked = environment
    (folder / "detectron2").mkdir()
    monkeypatch.setattr(detectron2_install, "import_problem", lambda: "ImportError: half of it")
    with pytest.raises(MissingDependencyError, match=r"detectron2: does not import \(ImportError: half of it\)"):
        install()
    assert not asked and (folder / "detectron2").is_dir()


def test_pip_that_fails_leaves_nothing(environment, monkeypatch):
    folder, _ = environment
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    with pytest.raises(MissingDependencyError, match=f"pip could not get {CARRIER}"):
        install()
    assert not list(folder.iterdir())


def test_advice_is_for_detectron2_alone():
    assert "`insight install-detectron2`" in advice(ModuleNotFoundError(name="detectron2.config"))
    assert "needs fvcore" in advice(ModuleNotFoundError(name="fvcore.nn"))
    assert advice(ModuleNotFoundError(name="rasterio")) is None
    assert advice(ModuleNotFoundError()) is None


def test_the_extra_brings_every_dependency():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    names = {"hydra": "hydra-core", "pkg_resources": "setuptools"}
    installed = " ".join(project["dependencies"] + project["optional-dependencies"]["detectron2"])
    assert all(names.get(name, name) in installed for name in DEPENDENCIES)
