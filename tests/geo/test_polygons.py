import cv2
import numpy as np
import pytest
import shapely
import torch
from affine import Affine
from rasterio.features import rasterize

from insight.errors import InputError
from insight.geo.polygons import mask_polygons
from insight.structures.rle import RLEMasks, encode_crop

NORTH_UP = Affine(0.3, 0, 500_000, 0, -0.3, 5_900_000)
ROTATED = Affine.translation(500_000, 5_900_000) @ Affine.rotation(33) @ Affine.scale(0.3, -0.3)


def _random_masks(count: int = 40, seed: int = 0) -> np.ndarray:
    """Noise: parts that touch at corners, holes within holes, and one mask without pixels."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 50, 70), bool)
    for mask in masks[:-1]:
        height, width = rng.integers(1, 16, 2)
        y, x = rng.integers(0, 50 - height), rng.integers(0, 70 - width)
        mask[y : y + height, x : x + width] = rng.random((height, width)) < rng.uniform(0.3, 0.9)
    return masks


def _encoded(masks: np.ndarray) -> RLEMasks:
    return RLEMasks.from_bitmaps(torch.from_numpy(masks))


@pytest.mark.parametrize("transform", [None, NORTH_UP, ROTATED])
def test_polygons_rasterise_to_their_masks(transform):
    masks = _random_masks()
    polygons = mask_polygons(_encoded(masks), transform)
    assert len(polygons) == len(masks)
    for mask, polygon in zip(masks, polygons):
        assert polygon.is_valid and polygon.geom_type in ("Polygon", "MultiPolygon")
        if polygon.is_empty:
            assert not mask.any()
            continue
        drawn = rasterize([polygon], out_shape=mask.shape, transform=transform or Affine.identity())
        np.testing.assert_array_equal(drawn.astype(bool), mask)
        pixel = 1 if transform is None else 0.09
        assert polygon.area == pytest.approx(mask.sum() * pixel, rel=1e-6)
        assert all(part.exterior.is_ccw for part in shapely.get_parts(polygon))


def test_hole_and_parts_are_kept():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, 2:12, 2:12] = True
    mask[0, 5:8, 5:8] = False
    mask[0, 15:18, 15:18] = True
    (polygon,) = mask_polygons(_encoded(mask))
    assert sorted(len(part.interiors) for part in polygon.geoms) == [0, 1]
    assert polygon.area == 100 - 9 + 9


def test_polygon_does_not_depend_on_window_or_company():
    masks = _random_masks(seed=3)
    alone = _random_masks(seed=4)[:1]
    origin = (1000, 3000)
    scene = [encode_crop(mask, (origin[0], origin[1]), (4000, 2000)) for mask in np.concatenate([masks, alone])]
    whole = mask_polygons(scene, ROTATED)
    window = mask_polygons(_encoded(masks), ROTATED, origin=origin)
    single = mask_polygons(_encoded(alone), ROTATED, origin=origin)
    assert [shapely.to_wkb(p) for p in whole] == [shapely.to_wkb(p) for p in [*window, *single]]


def test_simplify_is_in_pixels_and_keeps_the_shape():
    mask = np.zeros((1, 200, 200), np.uint8)
    corners = cv2.boxPoints(((90, 100), (120, 40), 25))
    cv2.fillPoly(mask[0], [corners.astype(int)], 1)
    encoded = _encoded(mask.astype(bool))
    (exact,), (simple,) = mask_polygons(encoded, ROTATED), mask_polygons(encoded, ROTATED, simplify=1.5)
    assert len(simple.exterior.coords) <= 10 < len(exact.exterior.coords)
    assert exact.hausdorff_distance(simple) <= 1.5 * 0.3 * 1.001
    with pytest.raises(InputError, match="simplify: expected a number of pixels, at least 0, got -1"):
        mask_polygons(encoded, simplify=-1)


def test_regularize_straightens_a_building_and_keeps_its_hole_and_others():
    pytest.importorskip("buildingregulariser")
    corners = cv2.boxPoints(((90, 100), (120, 60), 25))
    drawn = shapely.Polygon(corners, [shapely.Point(90, 100).buffer(8).exterior.coords])
    mask = rasterize([drawn], out_shape=(200, 200)).astype(bool)
    building, empty = mask_polygons(_encoded(np.stack([mask, np.zeros_like(mask)])), regularize=True)
    assert empty.is_empty
    assert len(building.exterior.coords) == 5 and len(building.interiors) == 1
    assert building.intersection(drawn).area / building.union(drawn).area > 0.97
    sides = np.diff(np.array(building.exterior.coords), axis=0)
    turns = (sides[:-1] * sides[1:]).sum(1) / np.linalg.norm(sides[:-1], axis=1) / np.linalg.norm(sides[1:], axis=1)
    np.testing.assert_allclose(turns, 0, atol=1e-6)
