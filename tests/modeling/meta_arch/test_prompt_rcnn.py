"""PromptRCNN against GeneralizedRCNN, its box prompts, and the cases that break detectors."""

import collections
import copy
import io
import logging
import sys

import pytest
import torch
from detectron2.modeling import DatasetMapperTTA, GeneralizedRCNN, GeneralizedRCNNWithTTA
from detectron2.structures import Boxes, Instances, pairwise_iou
from helpers.tiny_prompt_rcnn import (
    build,
    losses_of,
    make_config,
    make_inputs,
    make_tiny_config,
    silence_prompts,
    wake_prompts,
)

ALL = "base/insight.yaml"
CASCADE = "base/cascade.yaml"
HEADS = pytest.mark.parametrize(
    "files, options",
    [
        pytest.param((), {}, id="standard"),
        pytest.param((CASCADE,), {"MODEL__ROI_HEADS__NAME": "CascadeROIHeads"}, id="detectron2s_cascade"),
        pytest.param((CASCADE,), {}, id="cascade"),
        pytest.param(("base/scnet.yaml",), {"MODEL__SCNET__SEMANTIC__ENABLED": True}, id="scnet"),
    ],
)


def parameters(cfg):
    return sum(p.numel() for p in build(cfg).parameters()) / 1e6


def test_parameter_budgets_of_the_papers_table():
    def of(*parts):
        files = [f"base/{part}.yaml" for part in parts]
        return parameters(make_config("insight/mask_rcnn_r50_fpn.yaml", *files, MODEL__ROI_HEADS__NUM_CLASSES=15))

    baseline = of()
    assert baseline == pytest.approx(44.1, rel=0.01)
    assert of("lpm") - baseline == pytest.approx(2.3, rel=0.05)
    assert of("gpm") - baseline == pytest.approx(5.1, rel=0.05)
    assert of("area_loss") == baseline
    assert of("insight") - baseline == pytest.approx(7.2, rel=0.05)


@HEADS
def test_with_everything_off_it_is_generalized_rcnn(files, options):
    cfg = make_tiny_config(*files, **options)
    ours = build(cfg)
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    theirs = build(cfg)
    assert type(theirs) is GeneralizedRCNN
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values()))
    inputs = make_inputs()
    a, b = losses_of(ours, inputs), losses_of(theirs, inputs)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    with torch.no_grad():
        a, b = ours.eval()(inputs), theirs.eval()(inputs)
    assert_same_detections(a, b)


def assert_same_detections(a, b, **tolerance):
    for x, y in zip(a, b, strict=True):
        x, y = x["instances"], y["instances"]
        assert len(x) == len(y) > 0
        torch.testing.assert_close(x.pred_boxes.tensor, y.pred_boxes.tensor, **tolerance)
        torch.testing.assert_close(x.scores, y.scores, **tolerance)
        assert torch.equal(x.pred_masks, y.pred_masks)


@HEADS
def test_training_starts_near_the_baseline(files, options):
    baseline = build(make_tiny_config(*files, **options))
    prompted = build(make_tiny_config(*files, "base/lpm.yaml", "base/gpm.yaml", **options))
    extra = prompted.state_dict().keys() - baseline.state_dict().keys()
    assert extra and baseline.state_dict().keys() < prompted.state_dict().keys()
    assert all("prompt_encoder." in key or ".fusion." in key for key in extra)
    inputs = make_inputs(prompt_scale=2)
    near = losses_of(copy.deepcopy(prompted), inputs)  # a forward moves the statistics of BatchNorm
    silence_prompts(prompted)
    a, silent = losses_of(baseline, inputs), losses_of(prompted, inputs)
    torch.testing.assert_close(near, a, rtol=0.1, atol=0.01)
    assert all(torch.equal(a[k], silent[k]) for k in a) and not all(torch.equal(a[k], near[k]) for k in a)
    with torch.no_grad():
        assert_same_detections(baseline.eval()(inputs), prompted.eval()(inputs), rtol=0, atol=0)
        woken = wake_prompts(prompted)(inputs)
        assert not torch.equal(woken[0]["instances"].scores, baseline(inputs)[0]["instances"].scores)


def propose_nothing(model):
    """Every proposal is too small, and no true box joins them."""
    model.proposal_generator.min_box_size = 1e6
    model.proposal_generator.prompt_fraction = 0


@HEADS
def test_every_parameter_learns_even_without_objects(files, options):
    model = wake_prompts(build(make_tiny_config(*files, ALL, **options)))
    for objects, proposals in ((3, True), (0, True), (3, False), (0, False)):
        model.zero_grad(set_to_none=True)
        if not proposals:
            propose_nothing(model)
        losses = losses_of(model, make_inputs(objects=objects))
        assert all(torch.isfinite(v) for v in losses.values())
        sum(losses.values()).backward()
        without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []  # so that DistributedDataParallel needs no find_unused_parameters
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
        if not proposals:
            continue  # nothing to prompt for
        silent = [n for n, p in model.prompt_encoder.named_parameters() if not p.grad.any()]
        # The spectrum of a real crop is real at frequency 0: no gradient is lost there, only a component is 0.
        assert silent == []


@pytest.mark.parametrize("branches", [["box"], ["mask"]])
def test_prompts_reach_only_the_branches_asked_for(branches):
    model = build(make_tiny_config(ALL, MODEL__PROMPT__BRANCHES=branches))
    names = {name.split(".")[1] for name, _ in model.named_parameters() if ".fusion." in name}
    assert names == {f"{branches[0]}_pooler"}
    sum(losses_of(model, make_inputs()).values()).backward()


def test_heads_without_a_pooler_are_refused():
    with pytest.raises(ValueError, match="Res5ROIHeads has no box branch"):
        build(
            make_tiny_config(
                ALL,
                MODEL__ROI_HEADS__NAME="Res5ROIHeads",
                MODEL__ROI_HEADS__IN_FEATURES=["p4"],
                MODEL__ROI_MASK_HEAD__POOLER_RESOLUTION=14,
            )
        )


@HEADS
def test_images_are_encoded_once_and_boxes_keep_their_order(files, options):
    model = wake_prompts(build(make_tiny_config(*files, ALL, **options))).eval()
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append("backbone"))
    for block in model.prompt_encoder.global_to_local.global_blocks:
        block.register_forward_hook(lambda *_: calls.append("global"))
    inputs = make_inputs(prompt_scale=2)
    with torch.no_grad():
        encoded = model.encode(inputs)
    assert calls == ["backbone", "global", "global"]
    boxes = [x["instances"].gt_boxes.tensor for x in inputs]
    first = model.segment_boxes(encoded, boxes)
    assert calls == ["backbone", "global", "global"]
    for given, result in zip(boxes, first):
        assert torch.equal(result.pred_boxes.tensor, given)
        assert result.pred_masks.shape == (3, 1, 28, 28)
        assert result.image_size == (96, 128)
        assert ((result.scores > 0) & (result.scores < 1)).all()
        assert (result.pred_classes < 3).all()
    reverse = model.segment_boxes(encoded, [b.flip(0) for b in boxes])
    for a, b in zip(first, reverse):
        torch.testing.assert_close(a.scores, b.scores.flip(0))
        torch.testing.assert_close(a.pred_masks, b.pred_masks.flip(0), rtol=1e-4, atol=1e-5)


@HEADS
def test_scores_of_given_boxes_are_the_box_heads(files, options):
    """Without regression and suppression: compared with Detectron2's own inference on boxes that it cannot move."""
    model = build(make_tiny_config(*files, "base/lpm.yaml", **options)).eval()
    cascade = isinstance(model.roi_heads.box_predictor, torch.nn.ModuleList)
    for predictor in model.roi_heads.box_predictor if cascade else [model.roi_heads.box_predictor]:
        torch.nn.init.zeros_(predictor.bbox_pred.weight)  # so no box moves
        torch.nn.init.normal_(predictor.cls_score.weight, std=0.5)
        predictor.test_nms_thresh, predictor.test_score_thresh, predictor.test_topk_per_image = 1.0, 0.0, 1000
    inputs = make_inputs()[:1]
    boxes = inputs[0]["instances"].gt_boxes.tensor
    with torch.no_grad():
        encoded = model.encode(inputs)
        proposals = [Instances((96, 128), proposal_boxes=Boxes(boxes), objectness_logits=torch.ones(3))]
        detections = model.roi_heads(encoded.images, encoded.features, proposals)[0][0]
    ours = model.segment_boxes(encoded, [boxes])[0]
    for box, score, label in zip(boxes, ours.scores, ours.pred_classes):
        same = detections[pairwise_iou(Boxes(box[None]), detections.pred_boxes)[0] > 0.999]
        best = same.scores.argmax()
        assert same.scores[best] == pytest.approx(float(score), abs=1e-5)
        assert same.pred_classes[best] == label
    given = model.segment_boxes(encoded, [boxes], [torch.tensor([2, 2, 2])])[0]
    assert given.pred_classes.tolist() == [2, 2, 2]
    assert (given.scores <= ours.scores).all()


@HEADS
def test_corrected_boxes_are_what_the_detector_makes_of_them_as_proposals(files, options):
    """Compared with Detectron2's own inference, in which nothing is suppressed."""
    model = wake_prompts(build(make_tiny_config(*files, ALL, **options))).eval()
    cascade = isinstance(model.roi_heads.box_predictor, torch.nn.ModuleList)
    for predictor in model.roi_heads.box_predictor if cascade else [model.roi_heads.box_predictor]:
        torch.nn.init.normal_(predictor.bbox_pred.weight, std=0.1)
        torch.nn.init.normal_(predictor.cls_score.weight, std=0.5)
        predictor.test_nms_thresh, predictor.test_score_thresh, predictor.test_topk_per_image = 1.0, 0.0, 1000
    inputs = make_inputs()
    boxes = [x["instances"].gt_boxes.tensor for x in inputs]
    with torch.no_grad():
        encoded = model.encode(inputs)
    classes = [torch.tensor([0, 1, 2]), torch.tensor([2, 2, 1])]
    for i, corrected in enumerate(model.correct_boxes(encoded, boxes, classes)):
        for given, box, label in zip(boxes[i], corrected, classes[i]):
            alone = [
                Instances((96, 128), proposal_boxes=Boxes(torch.zeros(0, 4)), objectness_logits=torch.zeros(0))
            ] * 2
            alone[i] = Instances((96, 128), proposal_boxes=Boxes(given[None]), objectness_logits=torch.ones(1))
            with torch.no_grad():
                found = model.roi_heads(encoded.images, encoded.features, alone)[0][i]
            (expected,) = found.pred_boxes.tensor[found.pred_classes == label]
            torch.testing.assert_close(box, expected, rtol=1e-4, atol=1e-3)
            assert (box - given).abs().max() > 0.5
    told = [found.pred_classes for found in model.segment_boxes(encoded, boxes)]
    for by_default, as_told in zip(model.correct_boxes(encoded, boxes), model.correct_boxes(encoded, boxes, told)):
        torch.testing.assert_close(by_default, as_told)
    with pytest.raises(RuntimeError, match="evaluation mode"):
        model.train().correct_boxes(encoded, boxes)


def test_a_correction_out_of_the_image_is_not_taken():
    model = build(make_tiny_config("base/lpm.yaml")).eval()
    deltas = model.roi_heads.box_predictor.bbox_pred
    torch.nn.init.zeros_(deltas.weight)
    torch.nn.init.zeros_(deltas.bias)
    with torch.no_grad():
        deltas.bias[0::4] = -10 * 5  # five widths to the left
    inputs = make_inputs()[:1]
    boxes = torch.tensor([[10.0, 20, 30, 40], [100.0, 20, 110, 40]])
    with torch.no_grad():
        (corrected,) = model.correct_boxes(model.encode(inputs), [boxes])
    torch.testing.assert_close(corrected, torch.tensor([[10.0, 20, 30, 40], [50.0, 20, 60, 40]]))


@HEADS
def test_no_boxes_and_no_proposals(files, options):
    model = wake_prompts(build(make_tiny_config(*files, ALL, **options))).eval()
    inputs = make_inputs()
    with torch.no_grad():
        encoded = model.encode(inputs)
    for boxes in ([torch.zeros(0, 4)] * 2, [torch.tensor([[3.0, 4, 40, 50]]), torch.zeros(0, 4)]):
        results = model.segment_boxes(encoded, boxes)
        assert [len(r) for r in results] == [len(b) for b in boxes]
        assert all(r.pred_masks.shape == (len(r), 1, 28, 28) for r in results)
        assert [x.shape for x in model.correct_boxes(encoded, boxes)] == [b.shape for b in boxes]
    model.proposal_generator.nms_thresh = 0.7
    propose_nothing(model)
    with torch.no_grad():
        assert [len(x["instances"]) for x in model(inputs)] == [0, 0]
    with pytest.raises(RuntimeError, match="evaluation mode"):
        model.train().segment_boxes(encoded, boxes)


def test_images_of_different_sizes_and_resolutions():
    model = wake_prompts(build(make_tiny_config(ALL)))
    inputs = make_inputs(sizes=((96, 128), (77, 141)))
    inputs[1]["prompt_image"] = make_inputs(sizes=((200, 366),))[0]["image"]
    sum(losses_of(model, inputs).values()).backward()
    with torch.no_grad():
        assert all(len(x["instances"]) for x in model.eval()(inputs))


def test_prompts_read_the_full_resolution_image():
    model = wake_prompts(build(make_tiny_config(ALL))).eval()
    inputs = make_inputs(sizes=((96, 128),), prompt_scale=2)
    boxes = [inputs[0]["instances"].gt_boxes.tensor]
    with torch.no_grad():
        sharp = model.segment_boxes(model.encode(inputs), boxes)[0].scores
        del inputs[0]["prompt_image"]
        coarse = model.segment_boxes(model.encode(inputs), boxes)[0].scores
    assert not torch.allclose(sharp, coarse, atol=1e-4)


def test_detectron2s_test_time_augmentation_shows_prompts_the_view_that_it_shows_the_network():
    cfg = make_tiny_config(ALL, TEST__AUG__MIN_SIZES=(96,), TEST__AUG__MAX_SIZE=200)
    model = wake_prompts(build(cfg)).eval()
    (given,) = make_inputs(sizes=((96, 128),), prompt_scale=2)
    plain, flipped = DatasetMapperTTA(cfg)(given)
    by_hand = {"image": given["image"].flip(-1), "prompt_image": given["prompt_image"].flip(-1)}
    boxes = [given["instances"].gt_boxes.tensor]
    with torch.no_grad():
        scores = [model.segment_boxes(model.encode([x]), boxes)[0].scores for x in (plain, given, flipped, by_hand)]
    assert torch.equal(scores[0], scores[1]) and torch.equal(scores[2], scores[3])
    assert not torch.allclose(scores[0], scores[2], atol=1e-4)


@HEADS
def test_detectron2s_test_time_augmentation_runs(files, options):
    cfg = make_tiny_config(ALL, *files, **options, TEST__AUG__MIN_SIZES=(64, 96), TEST__AUG__MAX_SIZE=200)
    model = wake_prompts(build(cfg)).eval()
    (given,) = make_inputs(sizes=((96, 128),), prompt_scale=2)
    with torch.no_grad():
        found = GeneralizedRCNNWithTTA(cfg, model)([given])[0]["instances"]
    assert 0 < len(found) <= 5 and found.pred_masks.shape[1:] == (96, 128)


def test_heads_without_a_pooler_answer_no_boxes():
    options = {"MODEL__ROI_HEADS__IN_FEATURES": ["p4"], "MODEL__ROI_MASK_HEAD__POOLER_RESOLUTION": 14}
    options["MODEL__RESNETS__RES2_OUT_CHANNELS"] = 4  # of its last stage, which the heads hold
    model = build(make_tiny_config(MODEL__ROI_HEADS__NAME="Res5ROIHeads", **options)).eval()
    inputs = make_inputs()
    with torch.no_grad():
        encoded = model.encode(inputs)
    with pytest.raises(ValueError, match="Res5ROIHeads cannot answer box prompts: expected heads with a box_pooler"):
        model.segment_boxes(encoded, [x["instances"].gt_boxes.tensor for x in inputs])


def test_prompts_without_a_full_resolution_image_are_warned_of_once(caplog, monkeypatch):
    monkeypatch.setattr("detectron2.utils.logger._LOG_COUNTER", collections.Counter())
    monkeypatch.setattr(logging.getLogger("insight"), "propagate", True)
    model = build(make_tiny_config("base/lpm.yaml")).eval()
    whole, resized = make_inputs(prompt_scale=2), make_inputs()
    with torch.no_grad():
        build(make_tiny_config()).eval().encode(resized)  # without prompts nobody reads it
        model.encode(whole)
        assert "prompt_image" not in caplog.text
        for inputs in ([whole[0], resized[1]], resized):
            model.encode(inputs)
    # A set: pytest 9 hears a record twice of a logger that did not propagate when the test began.
    (record,) = {record for record in caplog.records if "prompt_image" in record.getMessage()}
    line = record.getMessage()
    assert line.startswith('an input has no "prompt_image"') and "PromptDatasetMapper" in line


@HEADS
def test_bfloat16_autocast_trains_and_detects(files, options):
    model = wake_prompts(build(make_tiny_config(*files, ALL, **options)))
    inputs = make_inputs()
    exact = losses_of(model, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = losses_of(model, inputs)
    sum(losses.values()).backward()
    for name, value in losses.items():
        assert float(value) == pytest.approx(float(exact[name]), rel=0.3, abs=0.05), name
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(torch.isfinite(x["instances"].scores).all() for x in model.eval()(inputs))


@HEADS
def test_weights_survive_a_file(files, options):
    cfg = make_tiny_config(*files, ALL, **options)
    model = wake_prompts(build(cfg)).eval()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = build(cfg, seed=1).eval()
    again.load_state_dict(torch.load(file, weights_only=True))
    inputs = make_inputs()
    with torch.no_grad():
        assert_same_detections(model(inputs), again(inputs), rtol=0, atol=0)


def test_a_pixel_std_of_the_wrong_length_is_named():
    with pytest.raises(ValueError, match="PIXEL_STD has 2 channels"):
        build(make_tiny_config(ALL, MODEL__PROMPT__PIXEL_STD=[1.0, 1.0]))


def test_a_pixel_std_of_zero_is_named():
    with pytest.raises(ValueError, match=r"PIXEL_STD: expected values above 0, got \[57.0, 0.0, 58.0\]"):
        build(make_tiny_config(ALL, MODEL__PROMPT__PIXEL_STD=[57.0, 0.0, 58.0]))


def test_an_unknown_branch_is_named():
    with pytest.raises(ValueError, match=r"BRANCHES: expected .* got \['boxes'\]"):
        build(make_tiny_config(ALL, MODEL__PROMPT__BRANCHES=["boxes"]))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("heads", [None, CASCADE, "base/scnet.yaml"])
def test_two_images_can_be_learned_by_heart(heads):
    files = [heads] if heads else []
    cfg = make_tiny_config(*files, ALL, MODEL__RPN__POST_NMS_TOPK_TEST=50, TEST__DETECTIONS_PER_IMAGE=10)
    model = build(cfg)
    inputs = make_inputs()
    for x in inputs:  # each rectangle in the colour of its class, on noise
        x["image"] //= 4
        for mask, label in zip(x["instances"].gt_masks.tensor, x["instances"].gt_classes):
            x["image"][label, mask] = 255
    steps = 160
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    # Down to 0: at one rate throughout, the cascade ends between 0.27 and 0.46 of its first loss by the seed alone.
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    totals = []
    for step in range(steps):
        total = sum(losses_of(model, inputs, seed=step).values())
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    assert sum(totals[-20:]) / 20 < totals[0] / 3  # a single step varies with the boxes that it samples
    model.eval()
    with torch.no_grad():
        encoded = model.encode(inputs)
    results = model.segment_boxes(encoded, [x["instances"].gt_boxes.tensor for x in inputs])
    for x, result in zip(inputs, results):
        assert torch.equal(result.pred_classes, x["instances"].gt_classes)
        assert (result.pred_masks > 0.5).float().mean() > 0.8


def test_registered_names_are_those_of_detectron2():
    from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, PROPOSAL_GENERATOR_REGISTRY

    assert META_ARCH_REGISTRY.get("PromptRCNN").__module__ == "insight.modeling.meta_arch.prompt_rcnn"
    assert "PromptRPN" in PROPOSAL_GENERATOR_REGISTRY
    assert "build_timm_fpn_backbone" in BACKBONE_REGISTRY
    assert "insight.modeling.registration" in sys.modules
