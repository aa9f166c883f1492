"""Model folders from training runs: the weights, and what the card says of the run."""

import json

import numpy as np
import pytest
import torch
import yaml
from helpers.tiny_sopseg import save_tiny_checkpoint

from insight import PromptPredictor, SOPSegPredictor
from insight.errors import InputError
from insight.hub import ModelError

pytest.importorskip("detectron2")

from detectron2.modeling import build_model

from insight.config import dump_config, load_config
from insight.hub.configs import model_config
from insight.hub.export import export_run
from insight.modeling.checkpointer import Checkpointer

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
BOXES = [[10, 20, 30, 40], [5, 6, 50, 30]]
RESULTS = {
    "made": {"date": "2026-11-29T10:00:00+00:00", "commit": "0123456789ab", "cpu": "a CPU", "threads": 2, "torch": "2"},
    "results": {"val": {"prompted": {"mIoU": 71.234, "boundary mIoU": None}}},
}
LOG = "[x] insight.cli.train INFO: Config files: ['sopseg_light'], overrides: {}\n"
OVERRIDES = ["OUTPUT_DIR", "out", "MODEL.SOPSEG.WEIGHTS", "/some/sam.pt", "MODEL.SOPSEG.JITTER", "0.1"]


@pytest.fixture
def sopseg_run(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    save_tiny_checkpoint(run / "state.pth", monkeypatch)
    state = torch.load(run / "state.pth")
    torch.save({"model": state, "optimizer": {}, "iteration": 39}, run / "model_0000039.pth")
    (run / "state.pth").unlink()
    (run / "last_checkpoint").write_text("model_0000039.pth")
    keys = ["ENCODER", "vit_b", "DECODER", "sam", "INPUT_SIZE", 64, "WEIGHTS", "/some/sam.pt", "JITTER", 0.1]
    pairs = [f"MODEL.SOPSEG.{word}" if i % 2 == 0 else word for i, word in enumerate(keys)]
    cfg = load_config(
        "sopseg_light", [*pairs, "MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(run), "DATASETS.TRAIN", ("scenes_train",)]
    )
    (run / "config.yaml").write_text(dump_config(cfg))
    (run / "results.json").write_text(json.dumps(RESULTS))
    (run / "log.txt").write_text(LOG.format(OVERRIDES) + LOG.format(["SEED", "9"]))
    return run, state


def test_a_model_that_embeds_angles_fits_its_config(sopseg_run, tmp_path):
    run, state = sopseg_run
    path = run / "model_0000039.pth"
    model = export_run(run, tmp_path / "points")
    assert model_config(model).MODEL.SOPSEG.PROMPT_FORM == "points"
    state["prompt_encoder.angle_embed.weight"] = torch.randn_like(state["prompt_encoder.no_mask_embed.weight"])
    torch.save({"model": state}, path)
    cfg = model_config(export_run(run, tmp_path / "tokens"))
    built = build_model(cfg)
    Checkpointer(built, exact=True).load(cfg.MODEL.WEIGHTS, checkpointables=[])
    torch.testing.assert_close(
        built.prompt_encoder.angle_embed.weight, state["prompt_encoder.angle_embed.weight"], atol=1e-3, rtol=1e-3
    )


def test_sopseg_from_a_run(sopseg_run, tmp_path):
    run, state = sopseg_run
    model = export_run(run, tmp_path / "exported", license="mit", half=False, notes={"start": "random weights"})
    assert (model.name, model.kind, model.license) == ("exported", "sopseg", "mit")
    keys = model.architecture
    assert (keys.encoder, keys.decoder, keys.input_size, keys.prompt) == ("vit_b", "sam", 64, "oriented_box")
    training = dict(model.training)
    config = training.pop("config")
    assert training == {
        "data": "scenes_train",
        "start": "random weights",
        "steps": 40,
        "batch": 24,
        "seed": 1,
        "date": "2026-11-29",
        "commit": "0123456789ab",
        "machine": "a CPU, 2 threads, torch 2",
        "command": "insight train --config-file sopseg_light MODEL.SOPSEG.JITTER 0.1",
    }
    assert config["MODEL"]["SOPSEG"]["JITTER"] == 0.1
    assert model.metrics == {"val": {"prompted": {"mIoU": 71.23}}}
    texts = [(model.path / name).read_text() for name in ("config.json", "README.md")]
    assert not any(place in text for text in texts for place in (str(tmp_path), "/some/sam.pt"))
    torch.save(state, tmp_path / "plain.pth")
    plain = SOPSegPredictor(tmp_path / "plain.pth", input_size=64, prompt="oriented_box")
    found = SOPSegPredictor.from_pretrained(model)
    for prompts in ({"boxes": BOXES}, {"oriented_boxes": [[50, 30, 30, 8, 30]]}):
        ours, theirs = (np.asarray(one.predict(image=IMAGE, **prompts).masks) for one in (found, plain))
        np.testing.assert_array_equal(ours, theirs)


def test_a_detector_from_a_run_is_the_same_model_for_detectron2(prompt_cfg, prompt_model, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    cfg = prompt_cfg.clone()
    cfg.OUTPUT_DIR, cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = str(run), ("scenes_train",), ("scenes_val",)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.02
    (run / "config.yaml").write_text(dump_config(cfg))
    names = [f"kind {i}" for i in range(cfg.MODEL.ROI_HEADS.NUM_CLASSES)]
    torch.save({"model": prompt_model.state_dict(), "trainer": {"class_names": names}}, run / "model_final.pth")
    model = export_run(run, tmp_path / "d", half=False, score_threshold=0.3, gsd=(0.1, 2.0))
    assert (model.class_names, model.score_threshold, model.gsd) == (tuple(names), 0.3, (0.1, 2.0))
    assert set(model.config) <= {"MODEL", "INPUT", "DATASETS", "TEST"} and "TRAIN" not in model.config["DATASETS"]
    again = model_config(model, ["MODEL.DEVICE", "cpu"])
    for section in ("MODEL", "INPUT", "TEST"):
        ours, theirs = (yaml.safe_load(one[section].dump()) for one in (again, cfg))
        assert ours | {"WEIGHTS": ""} == theirs | {"WEIGHTS": ""}
    found = PromptPredictor.from_pretrained(model, "cpu")
    cfg.MODEL.WEIGHTS = str(run / "model_final.pth")
    plain = PromptPredictor(cfg)
    ours, theirs = (one.predict(image=IMAGE, boxes=BOXES) for one in (found, plain))
    assert torch.equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(np.asarray(ours.masks), np.asarray(theirs.masks))


def test_files_of_results_take_the_place_of_the_runs_own(sopseg_run, tmp_path):
    (tmp_path / "jitter.json").write_text(json.dumps({"results": {"other": {"jitter": {"mIoU 0.2": 60.0}}}}))
    model = export_run(sopseg_run[0], tmp_path / "m", metrics=[tmp_path / "jitter.json"])
    assert model.metrics == {"other": {"jitter": {"mIoU 0.2": 60.0}}}
    with pytest.raises(InputError, match="metrics: .*nothing.json: no such file"):
        export_run(sopseg_run[0], tmp_path / "m", metrics=[tmp_path / "nothing.json"])


def test_a_run_that_cannot_be_exported(sopseg_run, tmp_path):
    run, _ = sopseg_run
    with pytest.raises(InputError, match="expected the output folder of a training run, which has a config.yaml"):
        export_run(tmp_path, tmp_path / "m")
    with pytest.raises(InputError, match="notes: expected data, start, .*, got 'colour'"):
        export_run(run, tmp_path / "m", notes={"colour": "blue"})
    with pytest.raises(ModelError, match="expected the mask decoder 'edge' of its config, got 'sam'"):
        export_run(run, tmp_path / "m", overrides=["MODEL.SOPSEG.DECODER", "edge"])
    (run / "last_checkpoint").unlink()
    with pytest.raises(InputError, match="expected a checkpoint, model_final.pth or one that last_checkpoint names"):
        export_run(run, tmp_path / "m")
    with pytest.raises(ModelError, match="mine.pth: no such checkpoint"):
        export_run(run, tmp_path / "m", weights=run / "mine.pth")
    assert not (tmp_path / "m").exists()


def test_a_detector_with_sopseg_masks_is_two_models(prompt_cfg, tmp_path):
    cfg = prompt_cfg.clone()
    cfg.MODEL.SOPSEG_BRANCH.ENABLED = True
    (tmp_path / "config.yaml").write_text(dump_config(cfg))
    (tmp_path / "model_final.pth").touch()
    with pytest.raises(InputError, match="SOPSEG_BRANCH.ENABLED: a model folder holds one model"):
        export_run(tmp_path, tmp_path / "m")
