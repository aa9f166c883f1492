"""results.json, and when a run counts as finished."""

import json
import math
from pathlib import Path

import pytest

from insight.engine import Trainer, evaluate, results


def finish(cfg, metrics=None):
    """What a run leaves, without the run."""
    results.write_config(cfg)
    found = {"some_val": {"segm": metrics or {"AP": 12.5}}}
    results.write_results(Path(cfg.OUTPUT_DIR, results.RESULTS), found, config=results.config_digest(cfg))


def test_training_and_evaluation_alone_leave_their_results(tiny_cfg):
    tiny_cfg.SOLVER.MAX_ITER = 2
    trainer = Trainer(tiny_cfg)
    trainer.resume_or_load(False)
    returned = trainer.train()
    path = Path(tiny_cfg.OUTPUT_DIR, "results.json")
    content = results.read_results(path)
    assert list(content["results"]) == ["rectangles"]
    for task, metrics in content["results"]["rectangles"].items():
        assert metrics == pytest.approx(returned[task], nan_ok=True)
    assert any(math.isnan(v) for v in content["results"]["rectangles"]["segm"].values())  # there is no large object
    assert "NaN" not in path.read_text()
    assert content["iteration"] == 2 and {"commit", "torch", "date", "cpu"} <= content["made"].keys()
    trained = results.finished_run(tiny_cfg.OUTPUT_DIR, tiny_cfg)
    assert json.dumps(trained) == json.dumps(content)
    path.unlink()
    evaluate(tiny_cfg, resume=True)
    again = results.finished_run(tiny_cfg.OUTPUT_DIR, tiny_cfg)
    assert again["iteration"] == 2
    masks = [found["results"]["rectangles"]["segm"] for found in (content, again)]
    assert masks[1] == pytest.approx(masks[0], nan_ok=True)


def test_what_is_refused_leaves_the_config_of_a_training(tiny_cfg):
    finish(tiny_cfg)
    path = Path(tiny_cfg.OUTPUT_DIR, results.CONFIG)
    before = path.read_text()
    other = tiny_cfg.clone()
    other.SOLVER.MAX_ITER, other.TEST.MAX_DETS = 3, [0]
    with pytest.raises(ValueError, match="TEST.MAX_DETS"):
        Trainer(other).train()
    assert path.read_text() == before


def test_an_evaluation_with_another_config_says_that_it_replaces_the_trainings_results(tiny_cfg, caplog):
    finish(tiny_cfg)
    weights = Path(tiny_cfg.OUTPUT_DIR, "model_final.pth")
    Trainer(tiny_cfg).checkpointer.save("model_final")
    other = tiny_cfg.clone()
    other.MODEL.WEIGHTS = str(weights)
    caplog.clear()
    evaluate(other)
    assert "another OUTPUT_DIR" not in caplog.text
    other.TEST.AREA_PROFILE = "isaid"
    evaluate(other)
    assert "(TEST.AREA_PROFILE was 'coco', now 'isaid'): its results.json and inference/ are replaced" in caplog.text
    path = Path(tiny_cfg.OUTPUT_DIR, results.CONFIG)
    assert "AREA_PROFILE: coco" in path.read_text()
    path.write_text("THEIRS: 1\n")
    evaluate(other)
    assert f"another config ({path}: unknown config key THEIRS): its results.json" in caplog.text
    assert path.read_text() == "THEIRS: 1\n"


def test_a_data_set_listed_twice_is_one(tiny_cfg):
    tiny_cfg.DATASETS.TEST *= 2
    tiny_cfg.SOLVER.MAX_ITER = 1
    trainer = Trainer(tiny_cfg)
    trainer.resume_or_load(False)
    trainer.train()
    found = results.finished_run(tiny_cfg.OUTPUT_DIR, tiny_cfg)["results"]
    assert found.keys() == {"rectangles"} and found["rectangles"].keys() == {"bbox", "segm"}


def test_several_data_sets_keep_their_names(tiny_cfg):
    tiny_cfg.DATASETS.TEST = ("a", "b")
    both = {"a": {"segm": {"AP": 1.0}}, "b": {"segm": {"AP": 2.0}}}
    assert results.by_dataset(tiny_cfg, both) == both
    tiny_cfg.DATASETS.TEST = ("a",)
    assert results.by_dataset(tiny_cfg, both["a"]) == {"a": both["a"]}
    tiny_cfg.DATASETS.TEST = ()
    assert results.by_dataset(tiny_cfg, {}) == {}


def test_a_run_is_finished_with_results_of_its_config_only(tiny_cfg, tmp_path):
    assert results.finished_run(tmp_path / "nothing", tiny_cfg) is None
    results.write_config(tiny_cfg)
    assert results.finished_run(tiny_cfg.OUTPUT_DIR, tiny_cfg) is None
    finish(tiny_cfg)
    assert results.finished_run(tiny_cfg.OUTPUT_DIR, tiny_cfg)["results"] == {"some_val": {"segm": {"AP": 12.5}}}
    longer = tiny_cfg.clone()
    longer.SOLVER.MAX_ITER = 9
    with pytest.raises(ValueError, match=r"holds a run of another config \(SOLVER.MAX_ITER was 8, now 9\): remove it"):
        results.finished_run(tiny_cfg.OUTPUT_DIR, longer)
    Path(tiny_cfg.OUTPUT_DIR, results.RESULTS).unlink()
    assert results.finished_run(tiny_cfg.OUTPUT_DIR, longer) is None  # it failed before anything was made
    Path(tiny_cfg.OUTPUT_DIR, "model_0000003.pth").touch()
    with pytest.raises(ValueError, match="holds a run of another config"):
        results.finished_run(tiny_cfg.OUTPUT_DIR, longer)
    finish(tiny_cfg)
    results.write_config(longer)  # begun anew in the same folder: what lies there are the results of before
    assert results.finished_run(tiny_cfg.OUTPUT_DIR, longer) is None


def test_what_decides_nothing_does_not_count(tiny_cfg, tmp_path):
    finish(tiny_cfg)
    other = tiny_cfg.clone()
    other.DATALOADER.NUM_WORKERS = 3
    other.OUTPUT_DIR = "elsewhere"
    assert results.config_digest(other) == results.config_digest(tiny_cfg)
    assert results.finished_run(tiny_cfg.OUTPUT_DIR, other)


def test_a_run_from_before_a_key_existed_counts(tiny_cfg):
    finish(tiny_cfg)
    path = Path(tiny_cfg.OUTPUT_DIR, "config.yaml")
    text = path.read_text()
    assert "  MAX_DETS:" in text
    path.write_text("\n".join(line for line in text.splitlines() if "PROMPT_JITTER" not in line))
    file = Path(tiny_cfg.OUTPUT_DIR, "results.json")
    results.write_results(file, {"d": {}}, config=results.config_digest(path.read_text()))
    assert results.finished_run(tiny_cfg.OUTPUT_DIR, tiny_cfg)


def test_evaluating_a_runs_own_checkpoint_leaves_it_the_run_that_it_was(tiny_cfg):
    own = tiny_cfg.clone()
    own.MODEL.WEIGHTS = f"{tiny_cfg.OUTPUT_DIR}/model_final.pth"
    finish(own)
    assert results.finished_run(tiny_cfg.OUTPUT_DIR, tiny_cfg)
    own.MODEL.WEIGHTS = "elsewhere/model_final.pth"
    finish(own)
    with pytest.raises(ValueError, match="MODEL.WEIGHTS was 'elsewhere/model_final.pth', now ''"):
        results.finished_run(tiny_cfg.OUTPUT_DIR, tiny_cfg)


@pytest.mark.parametrize("text", ["", "[]", '{"results": 3}', '{"results": {"a": 1}}'])
def test_a_file_of_something_else_is_named(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match="results.json: expected the results of a run"):
        results.read_results(tmp_path / "results.json")
