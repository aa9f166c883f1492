"""Nothing that a stranger's file holds runs, and nothing is written outside the folder of the output."""

import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("detectron2")

from helpers.in_process import run_insight
from helpers.payloads import PAYLOADS, pickle_payload, yaml_payload
from helpers.workplace import DATASET, INPUTS, KEEP_ALL, copy_workplace, replace, run_on

from insight.tables import sweep

_MODEL = ("--weights", "weights.pth", "--device", "cpu")


def tree(folder: Path) -> dict[str, int]:
    """All files of a folder with the times of their last change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(workplace, tmp_path, monkeypatch):
    """A copy of the workplace, which is the current folder, deep enough for ../../../ to be seen."""
    folder = tmp_path / "a" / "b" / "c" / "place"
    folder.parent.mkdir(parents=True)
    copy_workplace(workplace, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sweep, "execute", lambda job, bar, lock: "not started")
    return folder


def test_a_payload_of_this_test_would_leave_its_mark(tmp_path):
    mark = tmp_path / "mark"
    yaml.unsafe_load(yaml_payload(mark))
    assert mark.exists()
    mark.unlink()
    pickle.loads(pickle_payload(mark))
    assert mark.exists()


def test_every_command_that_reads_files_is_tried():
    commands = {" ".join(one.words[: 2 if one.words[0] in ("data", "measure") else 1]) for one in INPUTS}
    assert commands == {
        "train", "evaluate", "predict", "annotate", "table", "analyse", "compare", "plot", "demo", "data check",
        "data statistics", "data show", "data foreground", "data prepare", "measure missed", "measure jitter",
        "measure prompt-use", "measure proposals",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_runs_in_any_input(place, tmp_path, payload):
    mark, output = tmp_path / "mark", tmp_path / "a" / "out"
    for number, one in enumerate(INPUTS):
        folder = place.with_name(f"place{number}")
        copy_workplace(place, folder)
        path = folder / one.path
        content = PAYLOADS[payload](mark)
        if one.kind == "yaml" and payload.startswith("yaml"):  # so that all but the payload is sound
            content += path.read_bytes()
        replace(path, content)
        before = set(os.listdir(tmp_path)) | set(os.listdir(tmp_path / "a"))
        done = run_on(one, folder, output)
        assert not mark.exists(), (one, done)
        assert "Traceback" not in done.err, (one, done.err)
        assert set(os.listdir(tmp_path)) | set(os.listdir(tmp_path / "a")) <= before | {"out"}, one
        shutil.rmtree(output, ignore_errors=True)
        shutil.rmtree(folder)


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".pt", ".pyth", ".safetensors", ".PKL", ".bin", ""])
def test_weights_of_every_suffix_are_read_as_data(place, tmp_path, suffix):
    mark = tmp_path / "mark"
    weights = tmp_path / f"evil{suffix}"
    for payload in ("pickle", "torch.save"):
        weights.write_bytes(PAYLOADS[payload](mark))
        done = run_insight("evaluate", "--config-file", "config.yaml", "--weights", weights, "OUTPUT_DIR", "out")
        assert done.code == 2 and str(weights) in done.errors[0] and not mark.exists(), done
        images = ["--images", "data/images", "--output", "masks"]
        done = run_insight("annotate", "data/instances.json", "--weights", weights, *images)
        assert done.code == 2 and str(weights) in done.errors[0] and not mark.exists(), done


@pytest.mark.parametrize("name", ["../evil.pkl", "/{}/evil.pkl", "evil.pkl", "..", "a/../../evil.pkl"])
def test_last_checkpoint_names_files_of_its_folder_alone(place, tmp_path, name):
    mark = tmp_path / "mark"
    for folder in (place, place / "run"):
        (folder / "evil.pkl").write_bytes(pickle_payload(mark))
    replace(place / "run" / "last_checkpoint", name.format(place).encode())
    done = run_insight("train", "--config-file", "run/config.yaml", "--resume")
    assert done.code == 2 and len(done.errors) == 1 and not mark.exists(), done
    assert "last_checkpoint" in done.errors[0] or "evil.pkl" in done.errors[0]


@pytest.mark.parametrize("key", ["OUTPUT_DIR", "_BASE_", "DATASETS.COCO", "SEED", "MODEL.WEIGHTS"])
def test_overrides_are_data(place, tmp_path, key):
    mark = tmp_path / "mark"
    value = f"__import__('os').system('touch {mark}')"
    done = run_insight("data statistics", DATASET, "--config-file", "config.yaml", key, value)
    assert not mark.exists() and "Traceback" not in done.err
    done = run_insight("data statistics", DATASET, "--config-file", "config.yaml", key, yaml_payload(mark).decode())
    assert not mark.exists() and "Traceback" not in done.err


@pytest.mark.parametrize("base", ["evil.yaml", "sub/../evil.yaml", "/{}/evil.yaml"])
def test_an_inherited_config_is_data(place, tmp_path, base):
    mark = tmp_path / "mark"
    (place / "sub").mkdir()
    (place / "evil.yaml").write_bytes(yaml_payload(mark))
    (place / "mine.yaml").write_text(f"_BASE_: {base.format(place)}\n")
    done = run_insight("train", "--config-file", "mine.yaml")
    assert done.code == 2 and "evil.yaml" in done.errors[0] and not mark.exists(), done


def test_a_package_that_a_config_names_is_not_imported(place, tmp_path):
    """Looking for a.b imports a, and the current folder is on the path of `python -m insight`."""
    pytest.importorskip("timm")
    (place / "evil").mkdir()
    (place / "evil" / "__init__.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    backbone = ["MODEL.BACKBONE.NAME", "build_timm_fpn_backbone"]
    words = ["--config-file", "config.yaml", *backbone, "MODEL.TIMM.WEIGHTS", "package:evil.weights"]
    root = Path(__file__).resolve().parents[2]
    code = (
        f"import sys; sys.path.append({str(root)!r}); from insight.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "train", *words, "OUTPUT_DIR", "out", "MODEL.DEVICE", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert "error: MODEL.TIMM.WEIGHTS: " in done.stderr and "evil.weights" in done.stderr, done
    assert not (tmp_path / "mark").exists()


EVIL = "../../../evil"


def renamed(place: Path, name: str) -> None:
    """Call the dataset of all configs otherwise."""
    for path in (place / "config.yaml", place / "run" / "config.yaml"):
        replace(path, path.read_text().replace(DATASET, name).encode())


def test_a_dataset_named_like_a_path_writes_into_its_output(place, tmp_path):
    renamed(place, EVIL)
    (place / "out").mkdir()
    outside = tree(tmp_path).keys() - tree(place).keys()
    before = tree(place)
    config = ["--config-file", "config.yaml"]
    commands = [
        ["train", *config, "SOLVER.MAX_ITER", "1", "OUTPUT_DIR", "out/train"],
        ["evaluate", *config, *_MODEL, "OUTPUT_DIR", "out/evaluate"],
        ["measure missed", *config, *_MODEL, "--output", "out/missed.json"],
        ["measure jitter", *config, *_MODEL, "--output", "out/jitter.json", "--noise", "0"],
        ["measure prompt-use", *config, *_MODEL, "--output", "out/use.json"],
        ["measure proposals", *config, *_MODEL, "--output", "out/proposals.json"],
        ["data show", EVIL, *config, "--output", "out/show", "--count", "1"],
        ["data statistics", EVIL, *config],
        ["data check", EVIL, *config],
        ["compare", "--runs", "../../../../evil=run", "--output", "out/compare", "--count", "1", "--device", "cpu"],
        ["data foreground", f"{EVIL}=data/instances.json", "--output", "out/foreground"],
        ["demo", "--train", *config, "--output", "out/demo", "SOLVER.MAX_ITER", "1"],
    ]
    for words in commands:
        done = run_insight(*words)
        assert done.code == 0, (words, done)
        made = {name for name, when in tree(tmp_path).items() if "place/out/" not in name}
        old = {f"a/b/c/place/{name}" for name in before} | outside
        assert {name for name in made if name.startswith("a/")} <= old, words
    assert not [path for path in tmp_path.rglob("*evil*") if place / "out" not in path.parents]


def test_images_named_like_paths_write_into_the_output(place, tmp_path):
    content = json.loads((place / "data" / "instances.json").read_text())
    shutil.copytree(place / "data" / "images", tmp_path / "a" / "b" / "images")
    for image in content["images"]:
        image["file_name"] = f"../../../images/{image['file_name']}"
    replace(place / "data" / "instances.json", json.dumps(content).encode())
    outside = {name for name in tree(tmp_path) if "place" not in name}
    config = ["--config-file", "config.yaml"]
    sam = ["--weights", "sam.pth", "--input-size", "64", "--device", "cpu"]
    for words in (
        ["data show", DATASET, *config, "--output", "out/show", "--count", "0"],
        ["compare", "--runs", "ours=run", "--output", "out/compare", "--device", "cpu"],
        ["annotate", "data/instances.json", "--images", "data/images", *sam, "--output", "out/masks"],
        ["evaluate", *config, *_MODEL, "OUTPUT_DIR", "out/evaluate"],
        ["demo", "--train", *config, "--output", "out/demo", "SOLVER.MAX_ITER", "1"],
    ):
        done = run_insight(*words)
        assert "Traceback" not in done.err, (words, done.err)
        assert {name for name in tree(tmp_path) if "place" not in name} == outside, words


def test_review_cells_are_no_formulas(place):
    """A spreadsheet would compute what begins with =, +, - or @; review.csv is made to be opened in one."""
    content = json.loads((place / "data" / "instances.json").read_text())
    for category, name in zip(content["categories"], ('=HYPERLINK("http://x","y")', "@SUM(1+1)*cmd|' /C calc'!A0")):
        category["name"] = name
    replace(place / "data" / "instances.json", json.dumps(content).encode())
    source = ["data/instances.json", "--images", "data/images"]
    done = run_insight("annotate", *source, "--weights", "sam.pth", "--input-size", "64", *KEEP_ALL, "--output", "out")
    assert done.code == 0, done
    with open(place / "out" / "review.csv", newline="") as file:
        cells = {cell for row in csv.reader(file) for cell in row}
    assert '\'=HYPERLINK("http://x","y")' in cells or "'@SUM(1+1)*cmd|' /C calc'!A0" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))]
    done = run_insight("annotate", *source, "--review", "out/review.csv", "--output", "out")
    assert done.code == 0, done
