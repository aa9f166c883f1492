"""The drawing of instances: where colour goes, and where it must not."""

import time

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from insight.structures.rle import encode_crop
from insight.visualization.overlays import draw_instances


@pytest.fixture
def image():
    return np.full((60, 80, 3), 100, np.uint8)


def test_colour_stays_on_the_mask_at_every_scale(image):
    mask = np.zeros((60, 80), bool)
    mask[10:14, 20:27] = True
    for scale in (1, 2, 5):
        picture = draw_instances(image, mask[None], scale=scale)
        assert picture.shape == (60 * scale, 80 * scale, 3)
        changed = (picture != 100).any(axis=2)
        assert np.array_equal(changed, np.kron(mask, np.ones((scale, scale), bool)))
    assert (image == 100).all(), "the given image is left as it is"


def test_rle_and_bitmaps_are_drawn_alike(image):
    masks = np.random.default_rng(0).random((5, 60, 80)) < 0.02
    codes = [coco_mask.encode(np.asfortranarray(m, dtype=np.uint8)) for m in masks]
    assert np.array_equal(draw_instances(image, masks), draw_instances(image, codes))


def test_masks_are_decoded_in_their_windows_alone(monkeypatch):
    """At 100 million pixels, decoding a mask at full size takes a hundred times longer."""
    side = 10_000
    codes = [encode_crop(np.ones((20, 20), bool), (x, 5_000), (side, side)) for x in (0, 4_990, 9_980)]
    monkeypatch.setattr(coco_mask, "decode", lambda *_: pytest.fail("decoded at full size"))
    image = np.broadcast_to(np.uint8(100), (side, side, 3)).copy()
    start = time.perf_counter()
    plain = draw_instances(image, None, np.zeros((0, 4)), scale=1)
    drawing = time.perf_counter() - start
    start = time.perf_counter()
    picture = draw_instances(image, codes, scale=1)
    assert time.perf_counter() - start < 3 * drawing + 1
    assert [(picture[5_010, x + 10] != 100).any() for x in (0, 4_990, 9_980)] == [True] * 3
    assert (picture[5_000:5_020] != plain[5_000:5_020]).any(2).sum() == 3 * 400


def test_neighbours_differ_and_classes_agree_in_colour(image):
    masks = np.zeros((3, 60, 80), bool)
    for i in range(3):
        masks[i, 5:9, 10 * i + 5 : 10 * i + 9] = True
    own = draw_instances(image, masks, scale=1)
    assert len({tuple(own[5, 10 * i + 5]) for i in range(3)}) == 3
    by_class = draw_instances(image, masks, colors=[4, 1, 4], scale=1)
    assert tuple(by_class[5, 5]) == tuple(by_class[5, 25]) != tuple(by_class[5, 15])


def test_an_oriented_box_turns_counter_clockwise(image):
    """Detectron2's sense: at 30 degrees the right end of a long box points up."""
    picture = draw_instances(image, boxes=np.array([[40, 30, 60, 2, 30.0]]), scale=1)
    rows, columns = np.nonzero((picture != 100).any(axis=2))
    assert rows[columns > 50].mean() < 25 and rows[columns < 30].mean() > 35


def test_an_oriented_box_may_be_its_corners(image):
    oriented = np.array([40, 30, 60, 2, 30.0])
    corners = cv2.boxPoints(((40, 30), (60, 2), -30)).flatten()
    straight = np.array([5.0, 5, 9, 9])
    assert np.array_equal(draw_instances(image, boxes=[corners]), draw_instances(image, boxes=oriented[None]))
    both = draw_instances(image, boxes=[straight, corners], colors=[0, 0], scale=1)
    assert (both[5:9, 5:9] != 100).any() and (both[30, 40] != 100).any(), "boxes of several forms go together"


def test_a_label_covers_no_other_object_and_no_other_label(image):
    boxes = np.array([[10, 30, 30, 50], [11, 25, 31, 50], [50, 30, 70, 50.0]])
    drawn = {}
    for names in (("", "", ""), ("ship", "", ""), ("", "", "ship"), ("ship", "", "ship")):
        drawn[names] = draw_instances(image, boxes=boxes, labels=names, scale=4)
    plain = drawn["", "", ""]
    assert np.array_equal(drawn["ship", "", ""], plain), "the second box is in the way"
    assert not np.array_equal(drawn["", "", "ship"], plain)
    assert np.array_equal(drawn["ship", "", "ship"], drawn["", "", "ship"])
    apart = np.array([[10, 40, 12, 50], [14, 40, 16, 50.0]])
    one = draw_instances(image, boxes=apart, labels=["ship", ""], scale=4)
    assert np.array_equal(draw_instances(image, boxes=apart, labels=["ship", "tank"], scale=4)[:, 70:], one[:, 70:])


def test_hundreds_at_the_borders_and_none_at_all(image):
    rng = np.random.default_rng(1)
    corners = rng.uniform(-10, 80, (300, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 12, (300, 2))], axis=1)
    draw_instances(image, boxes=boxes, labels=["vehicle 0.93"] * 300, colors=range(300))
    assert np.array_equal(draw_instances(image, scale=1), image)
    assert np.array_equal(draw_instances(image, np.zeros((2, 60, 80), bool), labels=["a", "b"], scale=1), image)


def test_lengths_that_differ(image):
    with pytest.raises(ValueError, match=r"expected equal lengths, got \[1, 2\]"):
        draw_instances(image, boxes=np.zeros((2, 4)), labels=["a"])
