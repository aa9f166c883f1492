"""A library that is missing or cannot be loaded: one warning, the twin's results, and a line that says what to do."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import insight
from insight import ops
from insight.structures import _rle_ext

ROOT = Path(insight.__file__).parent
# Run in a process of its own, with a copy of the package whose library is missing or broken.
PROGRAM = """
import json, sys, warnings
import torch
from insight import info, ops
proposals = torch.tensor([[0.0, 0.0, 4.0, 5.0]], requires_grad=True)
gt_boxes = torch.tensor([[0.0, 0.0, 2.0, 5.0]])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    losses = [ops.area_loss(proposals, gt_boxes, eps=1e-12) for _ in range(2)]
    compiled = torch.compile(ops.area_loss, fullgraph=True, backend="eager")(proposals, gt_boxes, eps=1e-12)
losses[0].backward()
json.dump({
    "has_ops": ops.has_ops(),
    "warnings": [str(w.message) for w in caught if "insight" in str(w.message)],
    "losses": [loss.item() for loss in (*losses, compiled)],
    "gradient": proposals.grad.tolist(),
    "report": info.collect(),
    "file": ops.__file__,
}, sys.stdout)
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package without its library."""
    shutil.copytree(ROOT, tmp_path / "insight", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tmp_path / "insight"


def run_with(package):
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=package.parent)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["file"] == str(package / "ops/__init__.py")
    return outcome


def assert_twins_stand_in(outcome):
    assert not outcome["has_ops"]
    assert outcome["losses"] == pytest.approx([1.0, 1.0, 1.0])
    assert outcome["gradient"] == [pytest.approx([-1.0, -0.8, 1.0, 0.8])]
    assert outcome["report"]["ops"]["area_loss"] == "cpu: PyTorch twin, cuda: PyTorch twin"


def test_missing_library(package):
    outcome = run_with(package)
    assert_twins_stand_in(outcome)
    (warning,) = outcome["warnings"]
    assert warning.startswith(
        f"insight: {package / '_C.so'} was not built; run `pip install --no-build-isolation -e .`"
    )
    assert warning.endswith("Using the slower PyTorch twins of the ops.") and "\n" not in warning
    assert outcome["report"]["library"]["loaded"].startswith(f"no: {package / '_C.so'} was not built; run `pip install")


@pytest.mark.skipif(not (ops.has_ops() and _rle_ext.COMPILED), reason="the compiled libraries are not loaded")
@pytest.mark.parametrize("size", [4096, 100_000])
def test_libraries_that_were_cut_short(package, size):
    """The loader of the system would end the process by SIGBUS."""
    for library in (ROOT / "_C.so", Path(_rle_ext.COMPILED.__file__)):
        (package / library.name).write_bytes(library.read_bytes()[:size])
    outcome = run_with(package)
    assert_twins_stand_in(outcome)
    (warning,) = outcome["warnings"]
    assert warning.startswith(f"insight: {package / '_C.so'} has {size} bytes of at least ") and "\n" not in warning
    assert "cut short; run `pip install --no-build-isolation -e .` again" in warning
    coder = outcome["report"]["library"]["run-length coder"]
    assert coder.startswith(f"NumPy twin: {package}/_rle.") and f"has {size} bytes of at least" in coder


def test_library_that_does_not_load(package):
    (package / "_C.so").write_bytes(b"not a library")
    built = {"torch": "2.10.0", "cuda": "12.8", "backends": ["cpu", "cuda"]}
    (package / "_build.json").write_text(json.dumps(built))
    outcome = run_with(package)
    assert_twins_stand_in(outcome)
    (warning,) = outcome["warnings"]
    assert "_C.so was built with torch 2.10.0 and CUDA 12.8, here are torch" in warning
    assert "run `pip install --no-build-isolation -e .` again" in warning and "file too short" in warning
    assert "\n" not in warning
    assert outcome["report"]["library"]["built with backends"] == "cpu, cuda"
