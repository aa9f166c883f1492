"""--strict and --skip-bad of every command that reads annotations, on a COCO file two of whose images are missing."""

import json

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
    """A config file of a trained model, with that dataset."""
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
    """What to give a command so that it reads that file."""
    annotations, images = half

    def of(command):
        output = ["--output", tmp_path / "made"]
        if command == "table":
            monkeypatch.setattr(sweep, "execute", lambda job, bar, lock: f"started with {' '.join(job.command)}")
            row = {"name": "baseline", "config": str(config)}
            table = {"title": "Half", "rows": [row], "columns": {"AP": f"{NAME}/segm/AP"}}
            (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))
            return [tmp_path / "table.yaml", *output]
        if command == "compare":
            return ["--runs", f"ours={config}", *output]
        if command == "analyse":
            (tmp_path / "found.json").write_text("[]")
            return [tmp_path / "found.json", "--annotations", annotations, "--images", images, *output]
        if command == "annotate":
            torch.manual_seed(0)
            torch.save(build_sopseg("vit_t", "sam").state_dict(), tmp_path / "sam.pth")
            sizes = ["--input-size", 64, "--device", "cpu"]
            filters = [f"--{name}=0" for name in ("min-in-box", "min-area-ratio", "min-largest-part")]
            filters += ["--min-score=-1", "--max-area-ratio=1000"]
            return [annotations, "--images", images, "--weights", tmp_path / "sam.pth", *sizes, *filters, *output]
        if command in ("data statistics", "data show"):
            return [NAME, "--config-file", config, *(output if command == "data show" else [])]
        return ["--config-file", config, *(output if command.startswith("measure") else [])]

    return of


COMMANDS = (
    "train", "train --eval-only", "evaluate", "measure missed", "measure jitter", "data show", "compare", "table",
    "data statistics", "analyse", "annotate",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_strict_ends_in_one_line_and_skip_bad_goes_on(insight, half, arguments, command):
    words = arguments(command.removesuffix(" --eval-only"))
    for option in ("--strict", "--skip-bad"):
        done = insight(command, option, *words)
        errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
        if option == "--strict":
            gone = ", ".join(str(half[1] / f"{number}.png") for number in (1, 2))
            assert done.code == 2 and len(errors) == 1 and "Traceback" not in done.err, done.err
            assert f"{half[0]}: images are missing on disk; 2 are wrong: {gone}; --skip-bad" in errors[0]
        elif command == "table":  # goes on to its first run, and reports it
            assert done.code == 1 and len(errors) == 1 and "started with" in errors[0], done.err
            assert "DATASETS.BAD skip" in errors[0]
        else:
            assert done.code == 0 and not errors, done.err


def test_the_option_counts_more_than_the_config(insight, arguments):
    words = arguments("data statistics")
    skip = ["DATASETS.BAD", "skip"]
    assert insight("data statistics", *words, *skip).code == 0
    assert insight("data statistics", *words, *skip, "--strict").code == 2


def test_both_options_are_refused(insight):
    done = insight("train", "--strict", "--skip-bad")
    assert done.code == 2 and "not allowed with argument --strict" in done.err


def test_annotate_without_either_tells_what_it_leaves_out_with_code_1(insight, half, arguments, tmp_path):
    done = insight("annotate", *arguments("annotate"))
    assert done.code == 1 and f"error: {half[1]}/1.png: no such file" in done.err
    assert len(json.loads((tmp_path / "made" / "instances.json").read_text())["images"]) == 4
