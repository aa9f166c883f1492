"""Labels of the semantic head against label maps drawn at full size by OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

from insight.modeling.roi_heads.scnet.semantic_labels import IGNORED, semantic_labels, semantic_loss

BACKGROUND = 5
STRIDE = 8


def ellipses(size, count, seed):
    """Polygons of ellipses of many sizes, their classes, and the label map that shows small over large."""
    random = np.random.default_rng(seed)
    radii = random.uniform(6, 60, (count, 2))
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    centres = random.uniform(0, 1, (count, 2)) * size[::-1]
    polygons = [c + r * np.stack([np.cos(turn), np.sin(turn)], 1) for c, r in zip(centres, radii)]
    polygons = [p.clip(0, [size[1], size[0]]) for p in polygons]
    classes = random.integers(0, BACKGROUND, count)
    boxes = np.array([[*p.min(0), *p.max(0)] for p in polygons])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    masks = np.zeros((count, *size), np.uint8)
    labels = np.full(size, BACKGROUND, np.uint8)
    for i in np.argsort(-areas):
        cv2.fillPoly(masks[i], [np.round((polygons[i] - 0.5) * 256).astype(np.int32)], 1, shift=8)
        labels[masks[i] > 0] = classes[i]
    return polygons, classes, boxes, masks, labels


def as_instances(size, masks, classes, boxes):
    boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    return Instances(size, gt_masks=masks, gt_classes=torch.tensor(classes, dtype=torch.int64), gt_boxes=boxes)


@pytest.mark.parametrize("kind", ["polygons", "bitmaps"])
def test_masks_become_the_labels_of_the_cells_centres(kind):
    size = (200, 312)
    polygons, classes, boxes, masks, labels = ellipses(size, 12, seed=0)
    if kind == "polygons":
        masks = PolygonMasks([[p.ravel()] for p in polygons])
    else:
        masks = BitMasks(torch.from_numpy(masks).bool())
    found = semantic_labels([as_instances(size, masks, classes, boxes)], [None], (25, 39), STRIDE, BACKGROUND)[0]
    expected = torch.from_numpy(labels[4::8, 4::8]).long()
    assert found.dtype == torch.int64 and (expected != BACKGROUND).float().mean() > 0.3
    same = (found == expected).float().mean()
    assert same == 1 if kind == "bitmaps" else same > 0.97  # a cell on an outline may go either way


def test_padding_teaches_nothing_and_an_image_without_objects_is_background():
    targets = [
        as_instances((20, 33), BitMasks(torch.zeros(0, 20, 33, dtype=torch.bool)), [], []),
        as_instances((32, 16), PolygonMasks([]), [], []),
    ]
    found = semantic_labels(targets, [None, None], (4, 5), STRIDE, BACKGROUND)
    inside = torch.zeros(2, 4, 5, dtype=torch.bool)
    inside[0, :2, :4] = True  # centres at 4, 12 of 20 rows, at 4, 12, 20, 28 of 33 columns
    inside[1, :4, :2] = True
    assert (found[inside] == BACKGROUND).all() and (found[~inside] == IGNORED).all()


def test_given_labels_are_read_at_the_cells_centres():
    target = as_instances((16, 24), PolygonMasks([]), [], [])
    given = torch.arange(16 * 24, dtype=torch.int64).view(16, 24) % 200
    found = semantic_labels([target], [given], (2, 3), STRIDE, BACKGROUND)[0]
    assert found.tolist() == [[int(given[y, x]) for x in (4, 12, 20)] for y in (4, 12)]


def test_loss_is_the_mean_over_the_cells_that_count():
    logits = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.full((2, 3, 4), IGNORED)
    assert semantic_loss(logits, labels) == 0
    labels[0, 1, 2], labels[1, 0, 0] = 3, 5
    chance = logits.softmax(dim=1)
    expected = -(chance[0, 3, 1, 2].log() + chance[1, 5, 0, 0].log()) / 2
    torch.testing.assert_close(semantic_loss(logits, labels), expected)
