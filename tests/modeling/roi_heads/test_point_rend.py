"""PointRend, whose mask head pools for itself, with prompts; and batches that its own head cannot train on."""

from pathlib import Path

import pytest
import torch
from helpers.tiny_prompt_rcnn import TINY, build, losses_of, make_inputs, silence_prompts, wake_prompts

pytest.importorskip("detectron2.projects.point_rend")

from insight.checkpoint import CheckpointError
from insight.config import load_config
from insight.modeling.checkpointer import Checkpointer

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PROMPTS = ("MODEL.PROMPT.LPM.ENABLED", True, "MODEL.PROMPT.GPM.ENABLED", True)


def tiny(tmp_path, *overrides):
    """The light model with PointRend's parts, from files, slimmer still."""
    file = tmp_path / "pointrend.yaml"
    file.write_text(f"_BASE_: [{CONFIGS}/base/light.yaml, {CONFIGS}/base/pointrend.yaml]\n")
    small = ("MODEL.ROI_MASK_HEAD.FC_DIM", 32, "MODEL.ROI_MASK_HEAD.NUM_FC", 1, "MODEL.POINT_HEAD.FC_DIM", 32)
    return build(load_config(str(file), [*TINY, *small, *overrides]))


def test_prompts_join_what_the_head_pools(tmp_path):
    baseline, prompted = tiny(tmp_path), silence_prompts(tiny(tmp_path, *PROMPTS))
    inputs = make_inputs()
    a, b = losses_of(baseline, inputs), losses_of(prompted, inputs)
    assert "loss_mask_point" in a and all(torch.equal(a[k], b[k]) for k in a)
    woken = losses_of(wake_prompts(prompted), inputs)
    assert not torch.equal(woken["loss_mask"], a["loss_mask"])
    sum(woken.values()).backward()
    assert prompted.roi_heads.mask_head.prompt_pooler.fusion[0].weight.grad.any()
    with torch.no_grad():
        assert prompted.eval()(inputs)[0]["instances"].pred_masks.shape[1:] == (96, 128)
        encoded = prompted.encode(inputs)
    boxes = [x["instances"].gt_boxes.tensor for x in inputs]
    assert all(x.pred_masks.shape == (3, 1, 224, 224) for x in prompted.segment_boxes(encoded, boxes))


@pytest.mark.parametrize("branches", [["box", "mask"], ["mask"]], ids="_".join)
def test_a_batch_without_objects_trains(tmp_path, branches):
    model = tiny(tmp_path, *PROMPTS, "MODEL.PROMPT.BRANCHES", branches)
    losses = losses_of(model, make_inputs(objects=0))
    assert losses["loss_mask"] == losses["loss_mask_point"] == 0
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_it_has_the_classes_of_the_model(tmp_path):
    assert tiny(tmp_path).roi_heads.mask_head.point_head.predictor.out_channels == 3


@pytest.mark.parametrize("head", ["ROI_MASK_HEAD", "POINT_HEAD"])
def test_masks_of_no_class(tmp_path, head):
    model = tiny(tmp_path, f"MODEL.{head}.CLS_AGNOSTIC_MASK", True)
    inputs = make_inputs()
    assert losses_of(model, inputs)["loss_mask_point"] > 0
    for parameter in model.roi_heads.mask_head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.eval()
    with torch.no_grad():
        encoded = model.encode(inputs)
    boxes = [x["instances"].gt_boxes.tensor for x in inputs]
    one, other = (
        model.segment_boxes(encoded, boxes, [torch.full((len(b),), k) for b in boxes])[0].pred_masks for k in (0, 2)
    )
    assert one.std() > 0.01 and torch.equal(one, other)


def test_it_starts_from_weights_of_other_classes(tmp_path, caplog):
    source = tiny(tmp_path, "MODEL.ROI_HEADS.NUM_CLASSES", 5)
    torch.save({"model": source.state_dict()}, tmp_path / "model.pth")
    model = tiny(tmp_path)
    Checkpointer(model).load(str(tmp_path / "model.pth"), checkpointables=[])
    key = "roi_heads.mask_head.coarse_head.fc1.weight"
    assert model.state_dict()[key].equal(source.state_dict()[key])
    assert "point_head.fc1.weight" in caplog.text
    with pytest.raises(CheckpointError, match="it was trained for 5 classes, the model has 3"):
        Checkpointer(tiny(tmp_path), exact=True).load(str(tmp_path / "model.pth"), checkpointables=[])


def test_its_config_survives_a_file(tmp_path):
    cfg = load_config(str(CONFIGS / "insight/pointrend_r50_fpn_insight.yaml"))
    (tmp_path / "config.yaml").write_text(cfg.dump())
    again = load_config(str(tmp_path / "config.yaml"))
    assert again.MODEL.POINT_HEAD == cfg.MODEL.POINT_HEAD and again.MODEL.ROI_MASK_HEAD == cfg.MODEL.ROI_MASK_HEAD
