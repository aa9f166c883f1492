"""Overlaps measured in processes, bit for bit against those of pycocotools and faster-coco-eval."""

import contextlib
import copy
import io

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO as ReferenceCOCO
from pycocotools.cocoeval import COCOeval

from insight.evaluation import overlaps
from insight.evaluation.boundary import boundary_of
from insight.evaluation.coco import AREA_PROFILES, _by_image, average_precision, precision_table

SIZE = (150, 120)


def blob(rng, smoothness):
    smooth = cv2.GaussianBlur(rng.random(SIZE), (0, 0), smoothness)
    y, x = rng.integers(0, SIZE[0] - 20), rng.integers(0, SIZE[1] - 20)
    mask = np.zeros(SIZE, np.uint8, order="F")
    window = slice(y, y + rng.integers(3, 90)), slice(x, x + rng.integers(3, 90))
    mask[window] = smooth[window] > np.quantile(smooth, rng.uniform(0.1, 0.5))
    return mask


def coded(mask):
    code = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(SIZE), "counts": code["counts"].decode()}


@pytest.fixture(scope="module")
def compared():
    """A ground truth with crowds and polygons, and detections of which some have equal scores."""
    rng = np.random.default_rng(5)
    annotations, results = [], []
    for image in range(1, 13):
        for k in range(10 if image < 12 else 0):
            mask = blob(rng, rng.uniform(1, 6))
            category = int(rng.integers(1, 4))
            x, y, w, h = coco_mask.toBbox(coco_mask.encode(mask)).tolist()
            is_polygon = k % 3 == 0
            segmentation = [[x, y, x + w, y, x + w, y + h, x + 1, y + h]] if is_polygon else coded(mask)
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": [x, y, w, h],
                "segmentation": segmentation, "area": float(mask.sum()),
                "iscrowd": int(not is_polygon and rng.random() < 0.15),
            })  # fmt: skip
            for _ in range(rng.integers(0, 4)):
                found = np.roll(mask, rng.integers(-4, 5, 2), (0, 1))
                box = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(found))).tolist()
                results.append({
                    "image_id": image, "category_id": category if rng.random() < 0.8 else 1 + category % 3,
                    "bbox": box, "segmentation": coded(found), "score": round(float(rng.random()), 1),
                })  # fmt: skip
    images = [{"id": i, "height": SIZE[0], "width": SIZE[1], "file_name": f"{i}.png"} for i in range(1, 13)]
    categories = [{"id": k, "name": f"class{k}"} for k in (1, 2, 3)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def reference(truth, results, task, max_dets, ratio):
    """pycocotools; faster-coco-eval for boundaries, which pycocotools does not know."""
    unused = "segmentation" if task == "bbox" else "bbox"
    results = [{k: v for k, v in r.items() if k != unused} for r in copy.deepcopy(results)]
    with contextlib.redirect_stdout(io.StringIO()):
        if task == "boundary":
            loaded = COCO(copy.deepcopy(truth))
            limits = {name: list(area) for name, area in AREA_PROFILES["coco"].items()}
            evaluation = COCOeval_faster(
                loaded, loaded.loadRes(results), task, limits, boundary_dilation_ratio=ratio, boundary_cpu_count=1
            )
        else:
            loaded = ReferenceCOCO()
            loaded.dataset = copy.deepcopy(truth)
            loaded.createIndex()
            evaluation = COCOeval(loaded, loaded.loadRes(results), task)
        evaluation.params.maxDets = max_dets
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("task", ["bbox", "segm", "boundary"])
@pytest.mark.parametrize("max_dets", [[1, 10, 100], [3]], ids=str)
def test_equals_the_references_bit_for_bit(compared, monkeypatch, processes, task, max_dets):
    truth, results = compared
    monkeypatch.setattr(overlaps, "_IMAGES_A_PROCESS", 1)
    monkeypatch.setattr(overlaps, "usable_cores", lambda: processes)
    expected = reference(truth, results, task, max_dets, 0.05)
    measured = overlaps.measure_overlaps(_by_image(truth, results, max_dets[-1]), task, 0.05)
    found = {(i, category): ious for i, one in enumerate(measured, 1) for category, ious in one.ious.items()}
    assert found.keys() == {pair for pair, ious in expected.ious.items() if len(ious)}
    assert all(np.array_equal(ious, expected.ious[pair]) for pair, ious in found.items())
    before = copy.deepcopy((truth, results))
    table = precision_table(truth, results, task, max_dets, boundary_ratio=0.05)
    assert (truth, results) == before
    # pycocotools adds the rounding error of 1 to the number of detections before it divides by it
    np.testing.assert_allclose(table, expected.eval["precision"], rtol=0, atol=3e-16 if task != "boundary" else 0)
    assert 0.02 < table[table > -1].mean() < 0.95


def test_work_is_spread_over_processes_only_where_there_is_enough(compared, monkeypatch):
    used = []

    def spread(function, items, description, unit, workers):
        used.append(workers)
        return map(function, items)

    monkeypatch.setattr(overlaps, "map_in_processes", spread)
    monkeypatch.setattr(overlaps, "usable_cores", lambda: 16)
    expected = precision_table(*compared, "segm")
    assert used == []
    monkeypatch.setattr(overlaps, "_IMAGES_A_PROCESS", 4)
    assert np.array_equal(precision_table(*compared, "segm"), expected)
    assert used == [3]


def test_an_annotation_without_a_mask_is_never_found(compared):
    truth, results = copy.deepcopy(compared)
    expected = average_precision(truth, results, "segm")
    kept = [a for a in truth["annotations"] if a["category_id"] != 2]
    empty = [{**a, "segmentation": []} for a in truth["annotations"] if a["category_id"] == 2 and not a["iscrowd"]]
    truth["annotations"] = [*kept, *empty]
    found = average_precision(truth, results, "segm", class_names=("class1", "class2", "class3"))
    assert found["AP-class2"] == 0
    assert found["AP"] < expected["AP"]
    for annotation in empty:
        del annotation["segmentation"]
    bare = average_precision(truth, results, "segm", class_names=("class1", "class2", "class3"))
    assert bare == pytest.approx(found, abs=0, nan_ok=True)


@pytest.mark.parametrize("ratio", [0.005, 0.05, 0.3])
def test_a_boundary_equals_the_mask_without_its_erosion(ratio):
    rng = np.random.default_rng(0)
    distance = round(ratio * np.hypot(*SIZE))
    thinner = 0
    for _ in range(30):
        mask = blob(rng, rng.uniform(3, 12))
        padded = cv2.erode(np.pad(mask, 1), np.ones((3, 3), np.uint8), iterations=distance)
        expected = mask - padded[1:-1, 1:-1]
        found = coco_mask.decode(boundary_of(coded(mask), ratio))
        assert np.array_equal(found, expected)
        thinner += found.sum() < mask.sum()
    assert thinner > 5 or ratio == 0.3
