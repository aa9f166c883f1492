"""--strict and --skip-bad of every tool that reads annotations, on a COCO file two of whose images are missing."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny import write_dataset

from insight.config import load_config
from insight.data.datasets import register_from_config
from insight.modeling.sopseg import build_sopseg
from insight.tables import sweep

NAME = "half_rectangles"
TOOLS_FOLDER = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def half(tmp_path):
    """A COCO file, and the folder where images 1 and 2 of its 6 are missing."""
    annotations, images = write_dataset(tmp_path / "half")
    for number in (1, 2):
        (images / f"{number}.png").unlink()
    yield annotations, images
    register_from_config(load_config())  # strict again
    if NAME in DatasetCatalog.list():
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


@pytest.fixture
def config(half, trained, tmp_path):
    """A config file of a trained model, with that data set."""
    content = yaml.unsafe_load((trained / "config.yaml").read_text())
    content["DATASETS"].update(COCO=[[NAME, *map(str, half)]], TRAIN=[NAME], TEST=[NAME])
    content["MODEL"]["WEIGHTS"] = str(trained / "model_final.pth")
    content["SOLVER"]["MAX_ITER"] = 1
    content["OUTPUT_DIR"] = str(tmp_path / "out")
    path = tmp_path / "half.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def arguments(half, config, tmp_path, monkeypatch):
    """What to give a tool so that it reads that file."""
    annotations, images = half

    def of(tool):
        name, *command = tool.split()
        output = ["--output", tmp_path / "made"]
        if name == "table":
            monkeypatch.setattr(sweep, "execute", lambda job, bar, lock: f"started with {' '.join(job.command)}")
            row = {"name": "baseline", "config": str(config)}
            table = {"title": "Half", "rows": [row], "columns": {"AP": f"{NAME}/segm/AP"}}
            (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))
            return [tmp_path / "table.yaml", *output]
        if name == "compare":
            return ["--runs", f"ours={config}", *output]
        if name == "analyse":
            (tmp_path / "found.json").write_text("[]")
            return [tmp_path / "found.json", "--annotations", annotations, "--images", images, *output]
        if name == "annotate":
            torch.manual_seed(0)
            torch.save(build_sopseg("vit_t", "sam").state_dict(), tmp_path / "sam.pth")
            sizes = ["--input-size", 64, "--device", "cpu"]
            return [annotations, "--images", images, "--weights", tmp_path / "sam.pth", *sizes, *output]
        if name == "prepare_data":
            return [*command, NAME, "--config-file", config]
        return [*command, "--config-file", config, *([] if name == "train" else output)]

    return of


TOOLS = (
    "train", "train_net --eval-only", "measure missed", "measure jitter", "data show", "compare", "table",
    "prepare_data statistics", "analyse", "annotate",
)  # fmt: skip


@pytest.mark.parametrize("tool", TOOLS)
def test_strict_ends_in_one_line_and_skip_bad_goes_on(insight, half, arguments, tool):
    name, words = tool.split()[0], arguments(tool)
    option_at = 1 if name == "prepare_data" else 0
    for option in ("--strict", "--skip-bad"):
        done = insight(name, *words[:option_at], option, *words[option_at:])
        errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
        if option == "--strict":
            gone = ", ".join(str(half[1] / f"{number}.png") for number in (1, 2))
            assert done.code == 2 and len(errors) == 1 and "Traceback" not in done.err, done.err
            assert f"{half[0]}: images are missing on disk; 2 are wrong: {gone}; --skip-bad" in errors[0]
        elif name == "table":  # goes on to its first run, and tells it
            assert done.code == 1 and len(errors) == 1 and "started with" in errors[0], done.err
            assert "DATASETS.BAD skip" in errors[0]
        else:
            assert done.code == 0 and not errors, done.err


@pytest.mark.parametrize("name", sorted(path.stem for path in TOOLS_FOLDER.glob("*.py")))
def test_who_reads_annotations_has_the_options(insight, name):
    words = {"prepare_data": ["statistics"]}.get(name, [])
    done = insight(name, *words, "--help")
    has = "--strict" in done.out and "--skip-bad" in done.out
    # The others read images, metrics, or scenes that they draw.
    assert done.code == 0 and has == (name not in ("demo", "plot", "predict"))


def test_the_option_counts_more_than_the_config(insight, arguments):
    words = arguments("prepare_data statistics")
    skip = ["DATASETS.BAD", "skip"]
    assert insight("prepare_data", *words, *skip).code == 0
    assert insight("prepare_data", *words, *skip, "--strict").code == 2


def test_both_options_are_refused(insight):
    done = insight("train", "--strict", "--skip-bad")
    assert done.code == 2 and "not allowed with argument --strict" in done.err


def test_annotate_without_either_tells_what_it_leaves_out_with_code_1(insight, half, arguments, tmp_path):
    done = insight("annotate", *arguments("annotate"))
    assert done.code == 1 and "error: 1.png: no such image" in done.err
    assert len(json.loads((tmp_path / "made" / "instances.json").read_text())["images"]) == 4
