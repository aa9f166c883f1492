"""The average precision of polygons in a part of a scene is that of pycocotools, to which areas stand for the part."""

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

import shapely
from compare_tiles import Objects, average_precision
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZE = (200, 300)
COUNTED, NOT_COUNTED = 1.0, 9.0  # areas inside and outside of the only area range


def rectangles(draw, corners, sides):
    """Polygons with corners on pixels."""
    low = corners + draw.integers(0, 5, corners.shape)
    return shapely.box(*low.T, *(low + sides).T)


@pytest.fixture(params=range(5))
def scene(request):
    """Objects apart from each other; some found well, badly, twice or as another class; and which of them count."""
    draw = np.random.default_rng(request.param)
    corners = np.array([(x, y) for x in range(0, 300, 30) for y in range(0, 200, 25)])
    sides = draw.integers(6, 18, corners.shape)
    classes = draw.integers(0, 3, len(corners))
    truth = Objects(rectangles(draw, corners, sides), classes, np.ones(len(corners)))
    again = np.concatenate([np.flatnonzero(draw.random(len(corners)) < share) for share in (0.9, 0.4)])
    shifted = shapely.box(*(shapely.bounds(truth.polygons[again]) + draw.integers(-2, 3, (len(again), 4))).T)
    guessed = np.where(draw.random(len(again)) < 0.8, classes[again], draw.integers(0, 3, len(again)))
    found = Objects(shifted, guessed, draw.permutation(len(again)) / len(again))
    return found, truth, draw.random(len(corners)) < 0.5


def as_coco(objects, counted):
    """The objects as annotations of one image."""

    def code(polygon):
        ring = shapely.get_coordinates(polygon)[:-1]
        return coco_mask.merge(coco_mask.frPyObjects([ring.ravel().tolist()], *SIZE))

    return [
        {
            "id": i + 1,
            "image_id": 1,
            "category_id": int(objects.classes[i]),
            "score": float(objects.scores[i]),
            "segmentation": code(polygon),
            "area": COUNTED if counted[i] else NOT_COUNTED,
            "iscrowd": 0,
        }
        for i, polygon in enumerate(objects.polygons)
    ]


def test_average_precision_of_a_part_of_the_scene(scene):
    found, truth, counted = scene
    near = counted[shapely.STRtree(truth.polygons).nearest(found.polygons)]
    images, categories = [{"id": 1, "height": SIZE[0], "width": SIZE[1]}], [{"id": k} for k in range(3)]
    sides = []
    for objects, which in ((truth, counted), (found, near)):
        sides.append(COCO())
        sides[-1].dataset = {"images": images, "categories": categories, "annotations": as_coco(objects, which)}
        sides[-1].createIndex()
    evaluation = COCOeval(*sides, "segm")
    evaluation.params.iouThrs, evaluation.params.maxDets = np.array([0.5]), [1000]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, COUNTED + 1]], ["counted"]
    evaluation.evaluate()
    evaluation.accumulate()
    expected = 100 * evaluation.eval["precision"].mean()
    assert 10 < expected < 90
    assert average_precision(found, truth, counted) == pytest.approx(expected, abs=1e-6)
