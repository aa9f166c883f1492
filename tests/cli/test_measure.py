import json
import shutil

import cv2
import pytest
from helpers.model_folders import write_tiny_sopseg
from helpers.tiny_sopseg import save_tiny_checkpoint

from insight.engine.results import read_results


@pytest.fixture
def model(project, trained):
    return ["--config-file", trained / "config.yaml", "--weights", trained / "model_final.pth"]


def test_missed_instances(insight, model, tmp_path):
    done = insight("measure missed", *model, "--output", tmp_path / "missed.json", "--score-threshold", "0.99")
    assert done.code == 0, done.err
    found = read_results(tmp_path / "missed.json")
    metrics = found["results"]["tool_rectangles"]["missed"]
    assert metrics["instances"] == 15 and metrics["missed"] == 15 and found["score_threshold"] == 0.99
    assert 0 <= metrics["automatic AP"] <= metrics["prompted AP50"] <= 100
    assert "15 of 15 instances are missed" in done.out


def test_noise(insight, model, tmp_path):
    done = insight("measure jitter", *model, "--output", tmp_path / "jitter.json", "--noise", "0", "--noise", "0.3",
                    "--correct-boxes", "0.9")  # fmt: skip
    assert done.code == 0, done.err
    written = read_results(tmp_path / "jitter.json")
    assert written["correct_boxes"] == 0.9
    metrics = written["results"]["tool_rectangles"]["jitter"]
    names = {f"{name} at {n}" for name in ("mIoU", "class mIoU", "boundary mIoU") for n in ("0", "0.3")}
    assert set(metrics) == names | {"all boundary instances"}
    assert 0 <= metrics["mIoU at 0.3"] <= 100


def test_prompts_changed(insight, model, trained, tmp_path):
    done = insight("measure prompt-use", *model, "--output", tmp_path / "use.json")
    assert done.code == 0, done.err
    metrics = read_results(tmp_path / "use.json")["results"]["tool_rectangles"]["prompt_use"]
    kinds = ("silent", "mean", "of the box before", "of a box of another class")
    changes = [
        *(f"{module} {kind}" for module in ("LPM", "GPM") for kind in kinds),
        *("GPM context of the image before", "box branch silent", "mask branch silent"),
    ]
    assert list(metrics) == [f"{ap}, {name}" for ap in ("mask AP", "box AP") for name in ("as trained", *changes)]
    evaluated = read_results(trained / "results.json")["results"]["tool_rectangles"]
    assert metrics["box AP, as trained"] == pytest.approx(evaluated["bbox"]["AP"])


def test_proposals(insight, model, tmp_path):
    done = insight("measure proposals", *model, "--output", tmp_path / "proposals.json")
    assert done.code == 0, done.err
    metrics = read_results(tmp_path / "proposals.json")["results"]["tool_rectangles"]["proposals"]
    recalls, errors = ["AR@100", "AR", "ARs", "ARm", "ARl"], ["area error", *(f"area error {size}" for size in "sml")]
    assert list(metrics) == recalls + errors and 0 <= metrics["AR@100"] <= metrics["AR"] <= 100
    assert f"tool_rectangles: AR           {metrics['AR']:6.2f}" in done.out


def test_pictures(insight, trained, tmp_path):
    run = f"two steps={trained}"
    done = insight("compare", "--runs", run, f"again={trained}/config.yaml,{trained}/model_final.pth",
                    "--output", tmp_path / "pictures", "--images", "0.png", "--prompted")  # fmt: skip
    assert done.code == 0, done.err
    assert cv2.imread(str(tmp_path / "pictures" / "0.png")).shape[1] % 3 == 0


@pytest.mark.parametrize(
    "command, arguments, said",
    [
        ("measure missed", ["--weights", "absent.pth"], "absent.pth: no such checkpoint"),
        ("measure missed", ["DATASETS.TEST", "()"], "DATASETS.TEST: expected the name of at least one dataset"),
        ("measure jitter", ["DATASETS.TEST", "()"], "DATASETS.TEST: expected the name of at least one dataset"),
        ("measure missed", ["--score-threshold", "50"], "--score-threshold: expected a number from 0 to 1, got 50.0"),
        ("measure missed", ["DATASETS.TEST", "('elsewhere',)"], "DATASETS.TEST: unknown dataset 'elsewhere'"),
        (
            "measure jitter",
            ["--correct-boxes", "2"],
            "--correct-boxes: expected an IoU from 0 (correct no box)",
        ),
        ("measure jitter", ["--noise", "0.7"], "--noise: expected numbers from 0 to below 0.5, got 0.7"),
    ],
)
def test_a_mistake_is_one_line(insight, trained, tmp_path, command, arguments, said):
    done = insight(command, "--config-file", trained / "config.yaml", "--output", tmp_path / "o.json", *arguments)
    assert done.code == 2 and said in done.err and not (tmp_path / "o.json").exists()


def test_a_data_set_that_no_model_can_be_compared_on(insight, trained, tmp_path):
    done = insight("compare", "--runs", f"one={trained}", "--dataset", "elsewhere", "--output", tmp_path / "new")
    assert done.code == 2 and "error: --dataset: unknown dataset 'elsewhere'; insight's are: " in done.err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["ours"], "--runs: expected NAME=DIR or NAME=CONFIG,WEIGHTS, got 'ours'"),
        (["ours=absent.yaml,x"], "absent.yaml: no such"),
        (["ours=absent", "--worst", "0"], "--worst: expected an integer from 1, got 0"),
        (["ours=absent", "--count", "-1"], "--count: expected an integer from 1, got -1"),
        (["ours=absent", "--score-threshold", "2"], "--score-threshold: expected a number from 0 to 1, got 2.0"),
    ],
)
def test_runs_that_cannot_be_compared_are_told(insight, tmp_path, arguments, said):
    done = insight("compare", "--runs", *arguments, "--output", tmp_path)
    assert done.code == 2 and said in done.err


def test_gain(insight, project, tmp_path, monkeypatch):
    save_tiny_checkpoint(tmp_path / "sam.pth", monkeypatch)
    save_tiny_checkpoint(tmp_path / "ours.pth", monkeypatch, "edge", seed=1)
    write_tiny_sopseg(tmp_path / "named", monkeypatch)
    arguments = ("measure gain", "tool_rectangles", "--config-file", project / "config.yaml", "--objects", 4,
                 "--sam", tmp_path / "sam.pth", "--row", f"ours={tmp_path}/ours.pth",
                 "--row", f"named={tmp_path}/named", "--fit-on", "tool_rectangles",
                 "--output", tmp_path / "gain")  # fmt: skip
    monkeypatch.setattr("insight.engine.gain.default_crop_size", lambda model: 64)
    monkeypatch.setattr("insight.evaluation.contenders.MAX_SIZE", 128)
    done = insight(*arguments)
    assert done.code == 0, done.err
    content = json.loads((tmp_path / "gain/gain.json").read_text())
    names = [row["name"] for row in content["rows"]]
    assert names == ["superellipse, image not used", "box, filled", "SAM, whole image", "SAM, crop",
                     "SAM, crop, clipped to the prompt", "SAM, crop rotated upright", "SAM, crop with 20 % margin",
                     "ours", "named"]  # fmt: skip
    assert content["objects"] == 4 and "insight measure gain tool_rectangles" in content["command"]
    assert (tmp_path / "gain/gain.md").read_text() in done.out
    journals = {path: path.stat().st_mtime_ns for path in (tmp_path / "gain/rows").iterdir()}
    assert insight(*arguments).code == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "gain/rows").iterdir()} == journals


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["elsewhere"], "unknown dataset 'elsewhere'"),
        (["tool_rectangles", "--row", "ours"], "expected NAME=MODEL, got 'ours'"),
        (["tool_rectangles", "--row", "ours=absent.pth"], "absent.pth: no such checkpoint"),
        (["tool_rectangles", "--row", "ours=absent"], "absent: unknown model"),
        (["tool_rectangles", "--row", "ours=TRAINING"], "expected a training run of SOPSeg, got one of PromptRCNN"),
        (["tool_rectangles", "--sam", "absent.pth"], "absent.pth: no such checkpoint"),
        (["tool_rectangles", "--sam", "EDGE"], "expected a checkpoint of SAM, got one with another mask decoder"),
    ],
)
def test_mistakes_of_gain_are_one_line(insight, project, tmp_path, monkeypatch, arguments, said):
    save_tiny_checkpoint(tmp_path / "edge.pth", monkeypatch, "edge")
    arguments = [str(tmp_path / "edge.pth") if word == "EDGE" else word for word in arguments]
    (tmp_path / "training").mkdir()
    shutil.copy(project / "config.yaml", tmp_path / "training" / "config.yaml")
    arguments = [word.replace("TRAINING", str(tmp_path / "training")) for word in arguments]
    config = ("--config-file", project / "config.yaml")
    done = insight("measure gain", *arguments, *config, "--output", tmp_path / "gain")
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1
