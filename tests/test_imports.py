"""What importing insight loads, and what works where Detectron2 is missing or half installed."""

import subprocess
import sys
from pathlib import Path

import pytest

import insight

ROOT = Path(insight.__file__).resolve().parent.parent
HEAVY = ("torchvision", "timm", "detectron2", "cv2", "pycocotools", "matplotlib", "PIL")
OPS = """
import torch
box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
assert insight.ops.area_loss(box, box).item() == 0
"""


def run(program: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)


def imported_by(program: str) -> set[str]:
    """The top-level packages that a program imports, by Python's own log of imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {name.partition(".")[0] for name in names}


def test_import_insight_loads_nothing_else():
    assert not imported_by("import insight") & {*HEAVY, "torch", "numpy"}


@pytest.mark.parametrize("program", ["import insight.ops", "import insight; insight.ops.has_ops()"])
def test_the_ops_load_torch_alone(program):
    imported = imported_by(program)
    assert "torch" in imported and not imported & set(HEAVY)


def test_importing_takes_little_beyond_torch():
    """In seconds of this process's own CPU time, of which a busy machine takes little more; the best of three."""
    timed = "import time, torch; t = time.process_time(); import insight, insight.ops; print(time.process_time() - t)"
    assert any(float(run(timed).stdout) < 0.3 for _ in range(3))


def test_sopseg_loads_no_detectron2():
    imported = imported_by("import insight; insight.SOPSegPredictor")
    assert {"cv2", "pycocotools"} <= imported and "detectron2" not in imported  # so the log shows what is loaded


def test_every_public_name_can_be_had_and_is_listed():
    assert set(insight.__all__) <= set(dir(insight))
    assert all(getattr(insight, name) is not None for name in insight.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'insight' has no attribute 'no_such_name'"):
        insight.no_such_name  # noqa: B018


def test_importing_the_predictors_prints_no_warning():
    pytest.importorskip("detectron2")
    done = run("import insight; insight.PromptPredictor; insight.SOPSegPredictor")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_adding_the_config_registers_models_and_datasets():
    pytest.importorskip("detectron2")
    done = run("""
import insight
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY
insight.add_insight_config(get_cfg())
assert "PromptRCNN" in META_ARCH_REGISTRY and "SOPSegMetaArch" in META_ARCH_REGISTRY
assert any("nwpu" in name for name in DatasetCatalog.list())
""")
    assert done.returncode == 0, done.stderr


# None in sys.modules makes an import raise what it raises where nothing is installed.
@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (
            "detectron2",
            "insight.PromptPredictor needs Detectron2, which is not installed; run `insight install-detectron2`",
        ),
        (
            "fvcore",
            "insight.PromptPredictor needs Detectron2, which needs fvcore, which is not installed; run `pip install",
        ),
    ],
)
def test_without_a_whole_detectron2_the_rest_works(missing, says):
    pytest.importorskip("detectron2")
    done = run(f"""
import sys
sys.modules[{missing!r}] = None
import insight
{OPS}
insight.SOPSegPredictor
from insight import info
info.main()
try:
    insight.PromptPredictor
except ImportError as error:
    print(error)
""")
    assert done.returncode == 0, done.stderr
    assert says in done.stdout.splitlines()[-1]


def test_an_import_error_of_another_kind_is_not_hidden():
    done = run("import sys; sys.modules['pycocotools'] = None; import insight; insight.SOPSegPredictor")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of pycocotools")
