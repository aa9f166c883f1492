"""CascadeMaskROIHeads against Detectron2's cascade, and what its masks learn from."""

import pytest
import torch
from detectron2.structures import Boxes, Instances, PolygonMasks, pairwise_iou
from helpers.tiny_prompt_rcnn import build, losses_of, make_inputs, make_tiny_config, wake_prompts

from insight.modeling.roi_heads.cascade_stages import Stage

CASCADE = "base/cascade.yaml"
ALL = "base/insight.yaml"
DETECTRON2 = {"MODEL__ROI_HEADS__NAME": "CascadeROIHeads"}
WEIGHTS = (1.0, 0.5, 0.25)


def test_box_losses_are_detectron2s_times_the_weight_of_the_stage():
    ours = losses_of(build(make_tiny_config(CASCADE)), make_inputs())
    theirs = losses_of(build(make_tiny_config(CASCADE, **DETECTRON2)), make_inputs())
    for stage, weight in enumerate(WEIGHTS):
        for name in (f"loss_cls_stage{stage}", f"loss_box_reg_stage{stage}"):
            torch.testing.assert_close(ours[name], weight * theirs[name])
    # Detectron2 has one mask head, on the boxes before the first stage: our first.
    torch.testing.assert_close(ours["loss_mask_stage0"], theirs["loss_mask"])
    assert ours.keys() - theirs.keys() == {f"loss_mask_stage{stage}" for stage in range(3)}


def test_boxes_are_detectron2s():
    inputs = make_inputs()
    ours, theirs = build(make_tiny_config(CASCADE)).eval(), build(make_tiny_config(CASCADE, **DETECTRON2)).eval()
    with torch.no_grad():
        for a, b in zip(ours(inputs), theirs(inputs), strict=True):
            assert torch.equal(a["instances"].pred_boxes.tensor, b["instances"].pred_boxes.tensor)
            assert torch.equal(a["instances"].scores, b["instances"].scores)


def test_each_mask_head_trains_on_the_boxes_of_its_stage():
    model = build(make_tiny_config(CASCADE)).train()
    heads = model.roi_heads
    for predictor in heads.box_predictor:  # so that boxes move from stage to stage
        torch.nn.init.normal_(predictor.bbox_pred.weight, std=0.05)
    pooled = {"box": [], "mask": []}
    for branch, seen in pooled.items():
        getattr(heads, f"{branch}_pooler").register_forward_hook(
            lambda _, arguments, __, seen=seen: seen.append(torch.cat([b.tensor for b in arguments[1]]))
        )
    inputs = make_inputs(objects=6)
    losses_of(model, inputs)
    assert len(pooled["box"]) == len(pooled["mask"]) == 3
    for stage, (boxes, foreground) in enumerate(zip(pooled["box"], pooled["mask"])):
        least = (0.5, 0.6, 0.7)[stage]
        objects = torch.cat([x["instances"].gt_boxes.tensor for x in inputs])
        assert len(foreground) > 0
        assert all((boxes == box).all(dim=1).any() for box in foreground)
        assert (pairwise_iou(Boxes(foreground), Boxes(objects)).max(dim=1).values >= least).all()
    assert not torch.equal(pooled["box"][0], pooled["box"][1])


def test_a_box_learns_the_mask_of_the_object_it_overlaps_most():
    size = (100, 100)
    squares = [[[0.0, 0, 10, 0, 10, 10, 0, 10]], [[50.0, 50, 70, 50, 70, 70, 50, 70]]]
    target = Instances(size, gt_boxes=Boxes(torch.tensor([[0.0, 0, 10, 10], [50, 50, 70, 70]])))
    target.gt_masks = PolygonMasks(squares)
    proposals = Instances(
        size, proposal_boxes=Boxes(torch.tensor([[49.0, 49, 69, 69], [20, 20, 30, 30], [1, 1, 9, 9]]))
    )
    proposals.gt_classes = torch.tensor([1, 3, 0])
    empty = Instances(size, proposal_boxes=Boxes(torch.zeros(1, 4)), gt_classes=torch.tensor([3]))
    stage = Stage(0, [proposals, empty], torch.zeros(4, 1), (torch.zeros(0), torch.zeros(0)), None)
    foreground, selected = stage.foreground([target, Instances(size, gt_boxes=Boxes(torch.zeros(0, 4)))], 3)
    assert selected.tolist() == [True, False, True, False]
    assert [len(x) for x in foreground] == [2, 0]
    assert [p[0].tolist() for p in foreground[0].gt_masks.polygons] == [squares[1][0], squares[0][0]]


def test_a_mask_is_the_mean_of_all_heads():
    model = build(make_tiny_config(CASCADE)).eval()
    for head in model.roi_heads.mask_head:
        torch.nn.init.normal_(head.predictor.weight, std=0.5)
    logits = []
    for head in model.roi_heads.mask_head:
        head.predictor.register_forward_hook(lambda _, __, output: logits.append(output))
    inputs = make_inputs()[:1]
    boxes = inputs[0]["instances"].gt_boxes.tensor
    with torch.no_grad():
        result = model.segment_boxes(model.encode(inputs), [boxes], [torch.tensor([0, 1, 2])])[0]
    assert len(logits) == 3
    expected = sum(x[torch.arange(3), torch.arange(3)].sigmoid() for x in logits) / 3
    torch.testing.assert_close(result.pred_masks[:, 0], expected)


def test_prompts_reach_every_stage_of_boxes_and_masks():
    baseline = build(make_tiny_config(CASCADE))
    prompted = wake_prompts(build(make_tiny_config(CASCADE, "base/lpm.yaml", "base/gpm.yaml")))
    seen = {}
    for name, model in (("without", baseline), ("with", prompted)):
        for branch in ("box_head", "mask_head"):
            for stage, head in enumerate(getattr(model.roi_heads, branch)):
                head.register_forward_hook(
                    lambda _, arguments, __, key=(name, branch, stage): seen.update({key: arguments[0].detach()})
                )
        losses_of(model, make_inputs())
    for branch in ("box_head", "mask_head"):
        for stage in range(3):
            a, b = seen["without", branch, stage], seen["with", branch, stage]
            assert a.shape[1:] == b.shape[1:]
            assert a.shape != b.shape or not torch.allclose(a, b)


@pytest.mark.parametrize("loss", [f"{name}_stage{stage}" for name in ("loss_cls", "loss_mask") for stage in range(3)])
def test_every_stage_teaches_the_prompts(loss):
    model = wake_prompts(build(make_tiny_config(CASCADE, ALL)))
    losses_of(model, make_inputs(objects=6))[loss].backward()
    branch = model.roi_heads.mask_pooler if "mask" in loss else model.roi_heads.box_pooler
    assert all(projection.weight.grad.any() for projection in branch.fusion)
    assert all(p.grad.any() for p in model.prompt_encoder.parameters())


def test_losses_fall_in_a_few_steps():
    model = build(make_tiny_config(CASCADE, ALL))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    inputs = make_inputs()
    totals = []
    for step in range(12):
        losses = losses_of(model, inputs, seed=step % 3)
        totals.append(sum(losses.values()))
        optimizer.zero_grad()
        totals[-1].backward()
        optimizer.step()
    totals = torch.stack(totals).detach()
    assert torch.isfinite(totals).all()
    assert totals[-3:].mean() < 0.8 * totals[:3].mean()


def test_weights_that_do_not_fit_the_stages_are_named():
    with pytest.raises(ValueError, match=r"LOSS_WEIGHTS: expected 3 values, one per stage \(IOUS\), got 2"):
        build(make_tiny_config(CASCADE, MODEL__ROI_BOX_CASCADE_HEAD__LOSS_WEIGHTS=[1.0, 0.5]))


def test_without_masks_and_without_a_mask_pooler():
    model = build(make_tiny_config(CASCADE, MODEL__MASK_ON=False))
    assert not any("mask" in name for name in losses_of(model, make_inputs()))
    with torch.no_grad():
        assert not model.eval()(make_inputs())[0]["instances"].has("pred_masks")
    with pytest.raises(ValueError, match="CascadeMaskROIHeads needs a mask pooler"):
        build(
            make_tiny_config(
                CASCADE,
                MODEL__ROI_MASK_HEAD__POOLER_TYPE="",
            )
        )
