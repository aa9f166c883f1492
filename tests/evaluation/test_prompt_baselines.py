"""Answers that need no training, against OpenCV's drawing and a model that sees brightness."""

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from insight.errors import InputError
from insight.evaluation import prompt_baselines
from insight.evaluation.prompt_baselines import (
    best_exponent,
    box_masks,
    clip_to_boxes,
    fixed_margin_crops,
    superellipse_masks,
    upright_frame,
    upright_masks,
)
from insight.modeling.sopseg import cut_crops
from insight.modeling.sopseg.segment import SegmentedObjects
from insight.structures.box_shapes import pixels_in_superellipse
from insight.structures.oriented_boxes import oriented_corners

SIZE = (90, 120)


def corners_of(*boxes):
    """Corners of (centre x, centre y, width, height, angle as OpenCV counts it)."""
    return oriented_corners(np.array([cv2.boxPoints((box[:2], box[2:4], box[4])) for box in boxes]))


def decoded(codes):
    return coco_mask.decode([dict(code) for code in codes]).transpose(2, 0, 1).astype(bool)


def drawn(corners, size=SIZE):
    """The polygon at 16 times the resolution, read at the centres of the pixels."""
    canvas = np.zeros((16 * size[0], 16 * size[1]), np.uint8)
    cv2.fillPoly(canvas, [np.round(16 * np.asarray(corners) - 0.5).astype(np.int32)], 1)
    return canvas[8::16, 8::16].astype(bool)


BOXES = corners_of((40, 40, 50, 20, 30), (115, 5, 30, 20, -70), (60, 60, 10, 10, 0))


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_boxes_are_filled_and_cut_by_the_image():
    for mask, corners in zip(decoded(box_masks(BOXES, SIZE)), BOXES):
        assert iou(mask, drawn(corners)) > 0.97
    outside = corners_of((-40, 40, 20, 20, 0))
    assert not decoded(box_masks(outside, SIZE)).any() and not decoded(superellipse_masks(outside, 2.0, SIZE)).any()


def test_ellipses_are_opencvs():
    mask = decoded(superellipse_masks(BOXES[:1], 2.0, SIZE))[0]
    canvas = np.zeros((16 * SIZE[0], 16 * SIZE[1]), np.uint8)
    cv2.ellipse(canvas, ((16 * 40 - 0.5, 16 * 40 - 0.5), (16 * 50, 16 * 20), 30), 1, -1)
    assert iou(mask, canvas[8::16, 8::16].astype(bool)) > 0.97


@pytest.mark.parametrize("exponent", [2.0, 3.0, 20.0])
def test_the_exponent_of_what_is_fitted_is_found(exponent):
    window = (0, 0, SIZE[1], SIZE[0])
    truth = [pixels_in_superellipse(c.numpy(), exponent, window) for c in BOXES[:2]]
    codes = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in truth]
    assert best_exponent(BOXES[:2], codes) == exponent
    with pytest.raises(InputError, match="truth: expected at least one object"):
        best_exponent(BOXES[:0], [])


def test_masks_are_clipped_to_their_boxes():
    everything = coco_mask.encode(np.ones(SIZE, np.uint8, order="F"))
    half = np.zeros(SIZE, np.uint8, order="F")
    half[:, :40] = 1
    clipped = decoded(clip_to_boxes([everything, everything, coco_mask.encode(half)], BOXES[[0, 1, 0]]))
    filled = decoded(box_masks(BOXES, SIZE))
    np.testing.assert_array_equal(clipped[:2], filled[:2])
    np.testing.assert_array_equal(clipped[2], filled[0] & half.astype(bool))


def test_a_fixed_margin():
    plan = fixed_margin_crops(torch.tensor([[10.0, 20, 30, 60], [0, 0, 10, 5]]))
    assert plan.regions.tolist() == [[-8, 12, 48, 68], [-2, -4.5, 12, 9.5]]  # 1.4 times 40 and 10
    assert plan.index.tolist() == [0, 1]


@pytest.mark.parametrize("angle", [-80, -45.1, -44, -10, 0, 20, 44, 46, 90, 170])
def test_the_upright_frame_turns_by_at_most_45_degrees(angle):
    corners = corners_of((40, 30, 24, 10, angle))[0].double().numpy()
    centre, (right, down), width, height = upright_frame(corners)
    assert centre == pytest.approx([40, 30], abs=1e-4)
    assert right[0] >= np.sqrt(0.5) - 1e-6 and down == pytest.approx([-right[1], right[0]])
    assert sorted((width, height)) == pytest.approx([10, 24], abs=1e-4)
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * [width, height]
    rebuilt = centre + half @ np.stack([right, down])
    assert {tuple(c) for c in rebuilt.round(2).tolist()} == {tuple(c) for c in corners.round(2).tolist()}


@pytest.mark.parametrize("box", [(60, 45, 40, 12, 35), (60.3, 44.6, 12, 40, 35), (10, 80, 30, 16, -60)])
def test_upright_crops_show_the_object_upright_and_its_mask_returns(monkeypatch, box):
    corners = corners_of(box)
    truth = drawn(corners[0])
    image = torch.from_numpy(np.where(truth, 250, 20).astype(np.uint8))[None].repeat(3, 1, 1)
    seen = []

    def bright_inside_the_box(model, image, prompts, plan, input_size):
        crop = cut_crops(image, plan, input_size)[0].mean(0)
        x1, y1, x2, y2 = prompts.to_crops(plan.regions, input_size).boxes[0].round().int().tolist()
        seen.append(float((crop[y1:y2, x1:x2] > 0.5).float().mean()))
        logits = (crop - 0.5)[None]
        yield SegmentedObjects(torch.tensor([0]), logits, plan.regions, torch.ones(1), logits)

    monkeypatch.setattr(prompt_baselines, "segment_objects", bright_inside_the_box)
    mask = decoded(upright_masks(None, image, corners, 256))[0]
    assert iou(mask, truth) > 0.93
    if box[0] > 20:  # inside the image: the object fills its upright box
        assert seen[0] > 0.93
