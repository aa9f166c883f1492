"""A library that is missing or cannot be loaded: one warning that says what to do, and the fallbacks' results."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import insight
from insight import ops
from insight.structures import _rle_ext

ROOT = Path(insight.__file__).parent
SCHEMAS = [
    f"{op}{suffix}" for op in ("area_loss", "crop_resize", "global_to_local_attention") for suffix in ("", "_backward")
]
# Run in a process of its own, with a copy of the package whose library is missing or broken.
PROGRAM = (
    f"SCHEMAS = {SCHEMAS}"
    + """
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
    "schemas": {name: str(getattr(torch.ops.insight, name).default._schema) for name in SCHEMAS},
    "report": info.collect(),
    "file": ops.__file__,
}, sys.stdout)
"""
)

# crop_resize and its derivatives, also compiled.
CROP_RESIZE = """
import torch
from insight import ops
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck
boxes = torch.tensor([[0.0, 0, 11, 9], [2.3, 1.7, 4.9, 8.2], [5, 5, 5, 7]])
index = torch.tensor([1, 0, 1])
def crops(function, images):
    return function(images, boxes, (3, 4), image_index=index, mean=[0.25, 0.5], std=[0.5, 2], pad_value=0.5)
def graph(images, boxes, size):
    return ops.crop_resize(images, boxes, size, image_index=index[: len(boxes)], mean=[0.1, 0.2], std=[0.5, 2])
images = torch.rand(2, 2, 9, 11, dtype=torch.float64, requires_grad=True)
assert not ops.has_ops()
assert torch.equal(crops(ops.crop_resize, images), crops(ops.reference.crop_resize, images))
assert gradcheck(lambda x: crops(ops.crop_resize, x), images)
assert gradgradcheck(lambda x: crops(ops.crop_resize, x), images)
opcheck(torch.ops.insight.crop_resize.default, (images, boxes, index, 3, 4, None, torch.ones(2), True, 0.5))
assert ops.crop_resize(images, boxes[:0], 4).shape == (0, 2, 4, 4)
floats = images.detach().float()
exact = crops(ops.crop_resize, floats)
with torch.autocast("cpu", torch.bfloat16):
    assert torch.equal(crops(ops.crop_resize, floats), exact)
compiled = torch.compile(graph, fullgraph=True, dynamic=True, backend="aot_eager")
for count, size in ((3, 4), (2, 7)):
    values, gradients = [], []
    for function in (graph, compiled):
        values.append(function(images, boxes[:count], size))
        gradients.append(torch.autograd.grad(values[-1].square().sum(), images)[0])
    assert torch.equal(*values) and torch.equal(*gradients)
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package without its library."""
    shutil.copytree(ROOT, tmp_path / "insight", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return tmp_path / "insight"


def run_program(package, program):
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=package.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_with(package):
    outcome = json.loads(run_program(package, PROGRAM))
    assert outcome["file"] == str(package / "ops/__init__.py")
    return outcome


def assert_fallbacks_are_used(outcome):
    assert not outcome["has_ops"]
    assert outcome["losses"] == pytest.approx([1.0, 1.0, 1.0])
    assert outcome["gradient"] == [pytest.approx([-1.0, -0.8, 1.0, 0.8])]
    reported = outcome["report"]["ops"]
    assert reported.keys() == {"area_loss", "crop_resize", "global_to_local_attention"}
    assert set(reported.values()) == {"cpu: PyTorch fallback, cuda: PyTorch fallback"}


def test_crop_resize_compiles_and_has_its_gradients_without_the_library(package):
    run_program(package, CROP_RESIZE)


def test_missing_library(package):
    outcome = run_with(package)
    assert_fallbacks_are_used(outcome)
    (warning,) = outcome["warnings"]
    assert warning.startswith(
        f"insight: {package / '_C.so'} was not built; run `pip install --no-build-isolation -e .`"
    )
    assert warning.endswith("Using the slower PyTorch fallbacks of the operators.") and "\n" not in warning
    assert outcome["report"]["library"]["loaded"].startswith(f"no: {package / '_C.so'} was not built; run `pip install")


@pytest.mark.skipif(not (ops.has_ops() and _rle_ext.COMPILED), reason="the compiled libraries are not loaded")
@pytest.mark.parametrize("size", [4096, 100_000])
def test_truncated_libraries(package, size):
    """The system's loader would end the process with SIGBUS."""
    for library in (ROOT / "_C.so", Path(_rle_ext.COMPILED.__file__)):
        (package / library.name).write_bytes(library.read_bytes()[:size])
    outcome = run_with(package)
    assert_fallbacks_are_used(outcome)
    (warning,) = outcome["warnings"]
    assert warning.startswith(f"insight: {package / '_C.so'} is truncated: expected at least ")
    assert f", got {size}; " in warning and "\n" not in warning
    assert "run `pip install --no-build-isolation -e .` again" in warning
    coder = outcome["report"]["library"]["run-length coder"]
    assert coder.startswith(f"NumPy fallback: {package}/_rle.") and "is truncated" in coder


def test_library_that_does_not_load(package):
    (package / "_C.so").write_bytes(b"not a library")
    built = {"torch": "2.10.0", "cuda": "12.8", "backends": ["cpu", "cuda"]}
    (package / "_build.json").write_text(json.dumps(built))
    outcome = run_with(package)
    assert_fallbacks_are_used(outcome)
    (warning,) = outcome["warnings"]
    assert "_C.so was built with torch 2.10.0 and CUDA 12.8, but torch" in warning
    assert "run `pip install --no-build-isolation -e .` again" in warning and "file too short" in warning
    assert "\n" not in warning
    assert outcome["report"]["library"]["built with backends"] == "cpu, cuda"


@pytest.mark.skipif(not ops.has_ops(), reason="the compiled library is not loaded")
def test_schemas_without_the_library_are_those_of_the_library(package):
    expected = {name: str(getattr(torch.ops.insight, name).default._schema) for name in SCHEMAS}
    assert run_with(package)["schemas"] == expected


def test_importing_the_operators_imports_no_other_large_package():
    """With a bare package in place of insight/__init__.py, which registers models where Detectron2 is installed."""
    program = (
        "import sys, types; package = types.ModuleType('insight'); package.__path__ = [sys.argv[1]]; "
        "sys.modules['insight'] = package; import insight.ops; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(ROOT)], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "torch" in imported
    assert not imported & {"torchvision", "timm", "detectron2", "fvcore", "cv2", "matplotlib", "pycocotools", "PIL"}
