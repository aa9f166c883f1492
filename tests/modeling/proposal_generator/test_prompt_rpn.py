"""The area loss inside the RPN and the sampling of box prompts."""

import logging

import pytest
import torch
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage
from helpers.tiny_prompt_rcnn import build, losses_of, make_inputs, make_tiny_config

AREA = "base/area_loss.yaml"


@pytest.mark.parametrize("mode", ["matched", "literal"])
def test_the_area_loss_alone_trains_the_anchor_deltas(mode):
    model = build(make_tiny_config(AREA, MODEL__RPN__AREA_LOSS__MODE=mode, MODEL__RPN__AREA_LOSS__IOU_THRESHOLD=0.1))
    losses = losses_of(model, make_inputs())
    assert losses["loss_rpn_area"] > 0
    losses["loss_rpn_area"].backward()
    head = model.proposal_generator.rpn_head
    assert head.anchor_deltas.weight.grad.any() and head.conv.weight.grad.any()
    assert head.objectness_logits.weight.grad is None
    assert model.roi_heads.box_predictor.bbox_pred.weight.grad is None


@pytest.mark.parametrize("mode", ["matched", "literal"])
def test_the_other_losses_do_not_change(mode):
    inputs = make_inputs()
    plain = losses_of(build(make_tiny_config()), inputs)
    with_area = losses_of(build(make_tiny_config(AREA, MODEL__RPN__AREA_LOSS__MODE=mode)), inputs)
    assert with_area.keys() - plain.keys() == {"loss_rpn_area"}
    assert all(torch.equal(plain[k], with_area[k]) for k in plain)


@pytest.mark.parametrize("mode", ["matched", "literal"])
def test_no_objects_cost_nothing_and_keep_a_graph(mode):
    model = build(make_tiny_config(AREA, MODEL__RPN__AREA_LOSS__MODE=mode))
    loss = losses_of(model, make_inputs(objects=0))["loss_rpn_area"]
    assert loss == 0
    loss.backward()
    assert not model.proposal_generator.rpn_head.anchor_deltas.weight.grad.any()


def make_rpn(**options):
    return build(make_tiny_config(AREA, **options)).proposal_generator


def one_level(boxes, objectness=0.0):
    """Arguments of RPN.losses for one image and one level whose anchors are `boxes`, with deltas of zero."""
    n = len(boxes)
    deltas = torch.zeros(1, n, 4, requires_grad=True)
    return [Boxes(boxes)], [torch.full((1, n), objectness, requires_grad=True)], deltas


def test_the_matched_loss_is_that_of_the_positive_anchors():
    rpn = make_rpn(
        MODEL__RPN__AREA_LOSS__IOU_THRESHOLD=0.5,
        MODEL__RPN__AREA_LOSS__TOLERANCE=0.0,
        MODEL__RPN__AREA_LOSS__WEIGHT=3.0,
    )
    gt = torch.tensor([[0.0, 0, 10, 10]])
    anchors = torch.tensor([[0.0, 0, 10, 12], [0, 0, 8, 10], [0, 0, 10, 30], [0, 0, 10, 11]])
    boxes, logits, deltas = one_level(anchors)
    labels = [torch.tensor([1, 1, 1, 0])]  # the third is positive but of IoU 1/3, the fourth is not positive
    with EventStorage():
        loss = rpn.losses(boxes, logits, labels, [deltas], [gt.expand(4, 4)])["loss_rpn_area"]
    assert float(loss) == pytest.approx(3.0 * (0.2**2 + 0.2**2) / rpn.batch_size_per_image, rel=1e-4)
    loss.backward()
    assert deltas.grad[0, 0, 2:].gt(0).all() and deltas.grad[0, 1, 2:].lt(0).all()  # shrink the one, grow the other
    assert not deltas.grad[0, 2:].any() and not deltas.grad[..., :2].any()


def test_the_matched_loss_is_bounded_by_its_threshold():
    threshold = 0.4
    rpn = make_rpn(MODEL__RPN__AREA_LOSS__IOU_THRESHOLD=threshold)
    generator = torch.Generator().manual_seed(0)
    gt = torch.tensor([[0.0, 0, 20, 20]])
    anchors = gt * (0.05 + 3 * torch.rand(500, 4, generator=generator))
    boxes, logits, deltas = one_level(anchors)
    with EventStorage():
        for i in range(500):
            labels = [torch.zeros(500, dtype=torch.int64)]
            labels[0][i] = 1
            if i % 25 == 0:
                loss = rpn.losses(boxes, logits, labels, [deltas], [gt.expand(500, 4)])["loss_rpn_area"]
                assert 0 <= loss * rpn.batch_size_per_image <= (1 / threshold - 1) ** 2


@pytest.mark.parametrize(
    "side, excess, tolerance, takes_part",
    [
        (8, 3.9, 4.0, True),  # a box of IoU 0.26
        (8, 4.1, 4.0, False),
        (8, 1.5, 0.0, True),  # 0.53
        (8, 1.9, 0.0, False),  # 0.46
        (2, 1.2, 4.0, True),  # 0.21, above the floor
        (2, 1.3, 4.0, False),
        (100, 20, 4.0, True),  # large objects keep their threshold, 0.5
        (100, 21, 4.0, False),
    ],
)
def test_a_small_object_may_be_missed_by_pixels(side, excess, tolerance, takes_part):
    rpn = make_rpn(MODEL__RPN__AREA_LOSS__TOLERANCE=tolerance)
    gt = torch.tensor([[50.0, 50, 50 + side, 50 + side]])
    boxes, logits, deltas = one_level(gt + torch.tensor([-excess, -excess, excess, excess]))
    with EventStorage() as storage:
        loss = float(rpn.losses(boxes, logits, [torch.tensor([1])], [deltas], [gt])["loss_rpn_area"].detach())
    expected = (((side + 2 * excess) / side) ** 2 - 1) ** 2 / rpn.batch_size_per_image
    assert loss == pytest.approx(expected if takes_part else 0, rel=1e-4)
    name = "tiny" if side < 12 else "large"
    assert {key: value for key, (value, _) in storage.latest().items() if key.startswith("rpn/area_share")} == {
        f"rpn/area_share_{name}": float(takes_part)
    }


def test_the_share_of_objects_that_take_part_is_of_all_images():
    rpn = make_rpn()
    first = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 40, 40]])
    second = torch.tensor([[5.0, 5, 15, 15], [5, 5, 15, 15], [5, 5, 15, 15]])
    anchors = torch.tensor([[0.0, 0, 10, 11], [20, 20, 90, 90], [0, 0, 40, 40]])
    deltas = torch.zeros(2, 3, 4, requires_grad=True)
    labels = [torch.tensor([1, 1, 1]), torch.tensor([1, 1, 0])]
    logits = [torch.zeros(2, 3, requires_grad=True)]
    with EventStorage() as storage:
        rpn.losses([Boxes(anchors)], logits, labels, [deltas], [first, second])
    # Tiny: the first of the first image takes part, the second does not, nor does the one of the second image.
    assert storage.latest()["rpn/area_share_tiny"][0] == pytest.approx(1 / 3)
    assert storage.latest()["rpn/area_share_medium"][0] == 1


def test_the_share_of_many_objects_is_exact_in_half_precision():
    rpn = make_rpn(MODEL__RPN__AREA_LOSS__TOLERANCE=0.0)
    corners = 20.0 * torch.arange(200)[:, None].expand(-1, 2)
    objects = torch.cat([corners, corners + 10], 1)
    found = torch.arange(200) % 2 == 0
    anchors = torch.where(found[:, None], objects, objects + 9)  # the others are far off
    deltas = torch.zeros(2, 200, 4, dtype=torch.bfloat16, requires_grad=True)
    logits, labels = [torch.zeros(2, 200, requires_grad=True)], [torch.ones(200, dtype=torch.int64)] * 2
    with EventStorage() as storage:
        rpn.losses([Boxes(anchors)], logits, labels, [deltas], [objects, objects])
    assert storage.latest()["rpn/area_share_tiny"][0] == 0.5  # 200 of 400


def test_half_precision_deltas_are_decoded_in_float32():
    rpn = make_rpn(MODEL__RPN__AREA_LOSS__IOU_THRESHOLD=0.1)
    gt = torch.tensor([[0.0, 0, 700, 700]])  # an area that float16 cannot hold
    boxes, logits, _ = one_level(torch.tensor([[0.0, 0, 690, 710]]))
    deltas = torch.zeros(1, 1, 4, dtype=torch.float16, requires_grad=True)
    with EventStorage():
        loss = rpn.losses(boxes, logits, [torch.tensor([1])], [deltas], [gt])["loss_rpn_area"]
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert float(loss) * rpn.batch_size_per_image == pytest.approx((690 * 710 / 490000 - 1) ** 2, rel=1e-3)


def test_the_literal_loss_takes_every_proposal():
    model = build(make_tiny_config(AREA, MODEL__RPN__AREA_LOSS__MODE="literal")).train()
    inputs = make_inputs()
    torch.manual_seed(0)
    with EventStorage():
        encoded = model.encode(inputs)
        targets = [x["instances"] for x in inputs]
        proposals, losses = model.proposal_generator(encoded.images, encoded.features, targets)
    expected = []
    for image, target in zip(proposals, targets):
        terms = []
        for box in image.proposal_boxes.tensor.tolist():  # Algorithm 1, line by line
            best, area = -1.0, 0.0
            for gt in target.gt_boxes.tensor.tolist():
                w = min(box[2], gt[2]) - max(box[0], gt[0])
                h = min(box[3], gt[3]) - max(box[1], gt[1])
                gt_area = (gt[2] - gt[0]) * (gt[3] - gt[1])
                own = (box[2] - box[0]) * (box[3] - box[1])
                overlap = max(w, 0) * max(h, 0)
                iou = overlap / (own + gt_area - overlap)
                if iou > best:
                    best, area = iou, gt_area
            terms.append((abs(own - area) / (area + 1e-6)) ** 2)
        expected.append(sum(terms) / len(terms))
    assert float(losses["loss_rpn_area"]) == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    assert not any(x.proposal_boxes.tensor.requires_grad for x in proposals)


def test_box_prompts_join_the_proposals_in_training_only():
    options = {"MODEL__PROMPT__SAMPLING__FRACTION": 1.0, "MODEL__PROMPT__SAMPLING__JITTER": 0.0}
    model = build(make_tiny_config("base/box_prompts.yaml", **options))
    inputs = make_inputs()
    targets = [x["instances"] for x in inputs]
    for training in (True, False):
        model.train(training)
        with EventStorage(), torch.no_grad():
            encoded = model.encode(inputs)
            proposals, _ = model.proposal_generator(encoded.images, encoded.features, targets)
        for image, target in zip(proposals, targets):
            last = image[-3:]
            assert torch.equal(last.proposal_boxes.tensor, target.gt_boxes.tensor) == training
            assert (last.objectness_logits > 20).all() == training


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("MODEL__RPN__AREA_LOSS__MODE", "mean", 'MODE: expected "matched" or "literal"'),
        ("MODEL__RPN__AREA_LOSS__IOU_THRESHOLD", 0.0, r"IOU_THRESHOLD: expected a number in \(0, 1\]"),
        ("MODEL__RPN__AREA_LOSS__TOLERANCE", -1.0, "TOLERANCE: expected at least 0 pixels"),
        ("MODEL__PROMPT__SAMPLING__FRACTION", 1.5, r"FRACTION: expected a number in \[0, 1\]"),
        ("MODEL__PROMPT__SAMPLING__JITTER", 0.5, r"JITTER: expected a number in \[0, 0.5\)"),
        ("MODEL__ROI_HEADS__PROPOSAL_APPEND_GT", True, "PROPOSAL_APPEND_GT"),
    ],
)
def test_values_out_of_range_are_named(option, value, message):
    with pytest.raises(ValueError, match=message):
        build(make_tiny_config("base/insight.yaml", **{option: value}))


def test_a_training_that_sees_no_true_box_is_warned_of(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("insight"), "propagate", True)
    build(make_tiny_config("base/insight.yaml"))
    assert "no ground-truth" not in caplog.text
    build(make_tiny_config("base/insight.yaml", MODEL__PROMPT__SAMPLING__ENABLED=False))
    assert "no ground-truth box is added to the proposals in training; set the latter to True" in caplog.text
