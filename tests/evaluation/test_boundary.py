"""Boundary IoU in windows, against whole images eroded by OpenCV step by step, and against faster-coco-eval's."""

import time

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
from faster_coco_eval.core.mask import rleToBoundaryCV
from pycocotools import mask as coco_mask

from insight.evaluation import boundary_distance, boundary_iou


def encode(mask):
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def reference(one, other, ratio):
    """In whole images: pad with zeros, take off a ring of pixels d times."""
    height, width = one.shape
    steps = max(1, int(round(ratio * np.sqrt(height**2 + width**2))))
    boundaries = []
    for mask in (one, other):
        padded = np.pad(mask.astype(np.uint8), 1)
        for _ in range(steps):
            padded = cv2.erode(padded, np.ones((3, 3), np.uint8))
        boundaries.append(mask & (padded[1:-1, 1:-1] == 0))
    union = (boundaries[0] | boundaries[1]).sum()
    return (boundaries[0] & boundaries[1]).sum() / union if union else 0.0


def pairs(count=60):
    """Blobs of many forms, several parts, holes, some cut by the image's border, some apart, some empty."""
    rng = np.random.default_rng(0)
    for i in range(count):
        size = tuple(rng.integers(12, 150, 2))
        smooth = cv2.GaussianBlur(rng.random(size), (0, 0), rng.uniform(1, 8))
        one = smooth > np.quantile(smooth, rng.uniform(0.2, 0.95))
        other = np.roll(one, rng.integers(-4, 5, 2), (0, 1)) if i % 3 else smooth < np.quantile(smooth, 0.3)
        if i % 20 == 7:
            other = np.zeros(size, bool)
        yield one, other


@pytest.mark.parametrize("ratio", [0.005, 0.02, 0.1])
def test_equals_whole_images_eroded(ratio):
    values = []
    for one, other in pairs():
        expected = reference(one, other, ratio)
        assert boundary_iou(one[None], other[None], ratio) == pytest.approx([expected], abs=1e-12)
        assert boundary_iou([encode(one)], [encode(other)], ratio) == pytest.approx([expected], abs=1e-12)
        values.append(expected)
    assert min(values) == 0 and max(values) > 0.5 and len({round(v, 6) for v in values}) > 30


@pytest.mark.parametrize("ratio", [0.005, 0.02])
def test_equals_faster_coco_eval(ratio):
    for one, other in pairs(30):
        boundaries = [rleToBoundaryCV(encode(mask), ratio) for mask in (one, other)]
        expected = coco_mask.iou(boundaries[:1], boundaries[1:], [0])[0, 0]
        assert boundary_iou([encode(one)], [encode(other)], ratio) == pytest.approx([expected], abs=1e-12)


def test_by_hand_the_border_of_the_image_is_a_boundary():
    one, other = np.zeros((2, 100, 100), bool)  # ratio 0.02: 2.83, so 3 px
    one[:, :50] = True
    other[:, :40] = True
    # Rings of 3 px: 100 x 50 - 94 x 44 = 864, 100 x 40 - 94 x 34 = 804. They share the ring of the smaller, without its
    # right side (94 x 3).
    assert boundary_iou(one[None], other[None], 0.02) == pytest.approx([(804 - 282) / (864 + 282)])


def test_the_distance_is_of_the_diagonal_and_at_least_a_pixel():
    # 5.66, 7.24, 3.62, 28.3, and 0.07
    sizes = [(800, 800), (1024, 1024), (512, 512), (4000, 4000), (10, 10)]
    assert [boundary_distance(size) for size in sizes] == [6, 7, 4, 28, 1]
    assert boundary_distance((300, 400), 0.02) == 10


def test_an_object_thinner_than_the_distance_is_all_boundary():
    one, other = np.zeros((2, 4000, 4000), bool)
    one[100:120, 200:220], other[100:120, 205:225] = True, True
    assert boundary_iou(one[None], other[None]) == pytest.approx([15 / 25])


def test_one_object_in_a_large_scene_costs_no_more_than_its_window():
    scene = np.zeros((4000, 5000), bool)
    scene[1000:1030, 2000:2030] = True
    one = encode(scene)
    scene[1000:1030, 2030:2032] = True
    other = encode(scene)
    best = {}
    for name, work in (("window", lambda: boundary_iou([one], [other])), ("decode", lambda: coco_mask.decode(one))):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        best[name] = min(times)
    assert best["window"] < best["decode"] / 3  # less than making one of the two bitmaps


def test_nothing_and_what_does_not_fit():
    assert boundary_iou([], []).shape == (0,)
    empty = torch.zeros(1, 5, 6, dtype=torch.bool)
    assert boundary_iou(empty, empty).tolist() == [0]
    with pytest.raises(ValueError, match="as many predicted masks as true masks, got 1 and 0"):
        boundary_iou(empty, [])
    with pytest.raises(ValueError, match=r"masks of one image, got sizes \[5, 6\] and \[6, 5\]"):
        boundary_iou(empty, empty.mT)
    with pytest.raises(ValueError, match="a number above 0, got -1"):
        boundary_iou(~empty, ~empty, -1)
