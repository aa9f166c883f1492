"""`python -m insight.info`: the report is whole, true, and never fails."""

import os
import subprocess
import sys

import pytest
import torch

from insight import info, ops
from insight.ops import _ext
from insight.structures import _rle_ext


def test_versions_are_those_of_the_modules():
    import numpy
    import torchvision

    versions = info.collect()["versions"]
    assert versions["torch"].startswith(torch.__version__)
    assert versions["torchvision"] == torchvision.__version__
    assert versions["numpy"] == numpy.__version__
    assert {"insight", "python", "detectron2", "timm", "faster_coco_eval", "cv2"} <= versions.keys()


def test_every_public_op_is_listed():
    listed = info.collect()["ops"]
    assert "area_loss" in listed
    assert set(listed) == {name for name in ops.__all__ if name not in ("has_ops", "reference")}


@pytest.mark.skipif(not ops.has_ops(), reason="the compiled library is not loaded")
def test_availability_follows_the_library():
    sections = info.collect()
    backends = _ext.build_info()["backends"]
    cuda = "compiled" if "cuda" in backends else "PyTorch fallback"
    assert sections["ops"]["area_loss"] == f"cpu: compiled, cuda: {cuda}"
    assert sections["library"]["loaded"] == "yes"
    assert sections["library"]["built with backends"] == ", ".join(backends)


def test_which_coder_of_masks_is_used(monkeypatch):
    said = info.collect()["library"]["run-length coder"]
    assert (
        said == "compiled"
        if _rle_ext.COMPILED
        else said.startswith("NumPy fallback: the run-length coder was not built")
    )
    monkeypatch.setattr(_rle_ext, "COMPILED", None)
    monkeypatch.setattr(_rle_ext, "LOAD_ERROR", "no reason")
    assert info.collect()["library"]["run-length coder"] == "NumPy fallback: no reason"


def test_environment_shows_what_matters_and_nothing_else(monkeypatch):
    monkeypatch.setenv("INSIGHT_DATA", "/some/where")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("MY_PASSWORD", "secret")
    environment = info.collect()["environment"]
    assert environment["INSIGHT_DATA"] == "/some/where" and environment["OMP_NUM_THREADS"] == "3"
    assert "MY_PASSWORD" not in environment


def test_a_missing_or_broken_package_is_a_line(monkeypatch, tmp_path):
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('built for\\nanother numpy')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(info, "PACKAGES", {"no_such_package": None, "broken_package": None})
    versions = info.collect()["versions"]
    assert versions["no_such_package"] == "missing: No module named 'no_such_package'"
    assert versions["broken_package"] == "missing: built for another numpy"


def test_runs_without_detectron2():
    program = (
        "import sys, runpy; sys.modules['detectron2'] = None; runpy.run_module('insight.info', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line and line[0] != " "] == list(info.collect())
    (detectron2,) = (line.split(maxsplit=1)[1] for line in lines if line.split()[0] == "detectron2")
    assert detectron2.startswith("missing: ")
