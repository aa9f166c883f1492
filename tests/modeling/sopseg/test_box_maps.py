"""Maps of box prompts against polygons drawn by shapely and OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from shapely import affinity
from shapely.geometry import Polygon, box

from insight.modeling.sopseg.box_maps import FAR, box_maps
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts

SIZE = (64, 96)
ORIENTED = [[48.0, 32.0, 50.0, 14.0, 0.0], [40.0, 30.0, 41.5, 12.25, 33.0], [50.0, 28.0, 20.0, 36.0, -71.0]]


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("oriented", ORIENTED)
def test_coverage_is_that_of_the_polygon(oriented, scale):
    corners = oriented_corners([oriented])
    covered = box_maps(oriented_prompts(corners), SIZE, scale)[0, 0]
    polygon = affinity.scale(Polygon(corners[0].numpy()), 1 / scale, 1 / scale, origin=(0, 0))
    height, width = covered.shape
    exact = np.array(
        [[polygon.intersection(box(x, y, x + 1, y + 1)).area for x in range(width)] for y in range(height)]
    )
    error = np.abs(covered.numpy() - exact)
    assert error.max() < 0.35 and error.mean() < 0.02  # a rotated pixel is approximated by an upright one
    assert covered.sum() == pytest.approx(polygon.area, rel=0.03)


@pytest.mark.parametrize("oriented", ORIENTED)
def test_distances_are_along_the_boxs_own_axes(oriented):
    corners = oriented_corners([oriented])
    along = box_maps(oriented_prompts(corners), SIZE, 1)[0, 1:]
    (cx, cy), (w, h), angle = cv2.minAreaRect(corners[0].numpy())
    if w < h:
        w, h, angle = h, w, angle + 90
    radians = np.radians(angle)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    u = np.abs((x - cx) * np.cos(radians) + (y - cy) * np.sin(radians)) / (w / 2)
    v = np.abs((y - cy) * np.cos(radians) - (x - cx) * np.sin(radians)) / (h / 2)
    assert along.numpy() == pytest.approx(np.minimum(np.stack([u, v]), FAR), abs=1e-3)


def test_horizontal_boxes_are_their_own_corners():
    boxes = torch.tensor([[10.0, 8.0, 70.0, 40.0]])
    covered, along, across = box_maps(Prompts(boxes), SIZE, 2)[0]
    assert covered.sum() * 4 == pytest.approx(60 * 32)
    assert along[12, 20] < 0.04 and across[12, 20] < 0.07  # half a pixel from the centre
    assert (covered[4:20, 5:35] == 1).all()


def test_points_alone_draw_no_box():
    maps = box_maps(Prompts(None, torch.zeros(2, 1, 2), torch.ones(2, 1)), SIZE, 4)
    assert maps.shape == (2, 3, 16, 24)
    assert (maps[:, 0] == 0).all() and (maps[:, 1:] == 1).all()


def test_a_box_without_extent_gives_finite_numbers():
    assert box_maps(Prompts(torch.tensor([[5.0, 5.0, 5.0, 5.0]])), SIZE, 2).isfinite().all()
