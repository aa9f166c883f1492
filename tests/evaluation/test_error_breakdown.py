"""Each cause of error by hand, and the AP below it against COCO's."""

import contextlib
import copy
import io

import numpy as np
import pytest

pytest.importorskip("detectron2")

from helpers.boxes_coco import CATEGORIES, detections, random_case, truth
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from insight.evaluation.coco import average_precision, precision_table
from insight.evaluation.error_breakdown import ALL_FALSE_NEGATIVES, ALL_FALSE_POSITIVES, CAUSES, error_breakdown

A, SHIFTED, TOUCHED, FAR = [0, 0, 10, 10], [4, 0, 10, 10], [9, 0, 10, 10], [60, 60, 10, 10]
B, B_SHIFTED = [30, 30, 10, 10], [30, 34, 10, 10]  # SHIFTED: IoU 60 / 140; TOUCHED: 10 / 190
HALF = 100 * 51 / 101  # the recalls 0, 0.01 ... 0.5 of the 101
NONE = float("nan")
TASKS = pytest.mark.parametrize("task", ["bbox", "segm"])


def counts(breakdown):
    """{cause: {class: count}} without the zeros."""
    names = breakdown.class_names
    found = {cause: {names[k]: int(n) for k, n in enumerate(breakdown.counts[cause]) if n} for cause in CAUSES}
    return {cause: by_class for cause, by_class in found.items() if by_class}


def check(breakdown, ap, **fixed):
    """AP of (car, boat), and what it is with each cause fixed; the same as `ap` where it is not given."""
    assert breakdown.ap[:2] == pytest.approx(ap, nan_ok=True) and np.isnan(breakdown.ap[2])
    for cause in CAUSES:
        assert breakdown.fixed[cause][:2] == pytest.approx(fixed.get(cause, ap), nan_ok=True), cause


@TASKS
def test_all_found(task):
    breakdown = error_breakdown(truth(("car", A)), detections(("car", A, 0.9)), task)
    assert counts(breakdown) == {} and breakdown.instances.tolist() == [1, 0, 0]
    assert breakdown.class_names == list(CATEGORIES)
    check(breakdown, (100, NONE))


@TASKS
def test_localisation(task):
    breakdown = error_breakdown(truth(("car", A)), detections(("car", SHIFTED, 0.9)), task)
    assert counts(breakdown) == {"localisation": {"car": 1}}  # and nothing is missed
    check(breakdown, (0, NONE), localisation=(100, NONE))
    assert breakdown.gain("localisation") == pytest.approx(100)


@TASKS
def test_classification(task):
    breakdown = error_breakdown(truth(("car", A), ("boat", B)), detections(("boat", A, 0.9), ("boat", B, 0.8)), task)
    assert counts(breakdown) == {"classification": {"boat": 1}}
    check(breakdown, (0, 50), classification=(100, 100))  # found as a car, and no wrong boat any more


@TASKS
def test_both(task):
    breakdown = error_breakdown(
        truth(("car", A), ("boat", B)), detections(("boat", SHIFTED, 0.9), ("boat", B, 0.8)), task
    )
    assert counts(breakdown) == {"both": {"boat": 1}, "missed": {"car": 1}}
    check(breakdown, (0, 50), both=(0, 100), missed=(NONE, 50))


@TASKS
def test_duplicate(task):
    found = detections(("car", A, 0.9), ("car", A, 0.8), ("car", B, 0.7))
    breakdown = error_breakdown(truth(("car", A), ("car", B)), found, task)
    assert counts(breakdown) == {"duplicate": {"car": 1}}
    check(breakdown, (100 * (51 + 50 * 2 / 3) / 101, NONE), duplicate=(100, NONE))


@TASKS
@pytest.mark.parametrize("place", [FAR, TOUCHED])
def test_background(task, place):
    breakdown = error_breakdown(truth(("car", A)), detections(("car", place, 0.9), ("car", A, 0.8)), task)
    assert counts(breakdown) == {"background": {"car": 1}}
    check(breakdown, (50, NONE), background=(100, NONE))


@TASKS
def test_missed(task):
    breakdown = error_breakdown(truth(("car", A), ("car", B)), detections(("car", A, 0.9)), task)
    assert counts(breakdown) == {"missed": {"car": 1}}
    check(breakdown, (HALF, NONE), missed=(100, NONE))


@TASKS
def test_images_without_instances_or_without_detections(task):
    given = truth(("car", A, 1), images=(1, 2))
    breakdown = error_breakdown(given, detections(("boat", A, 0.9, 2)), task)
    assert counts(breakdown) == {"background": {"boat": 1}, "missed": {"car": 1}}
    check(breakdown, (0, NONE), missed=(NONE, NONE))
    assert np.isnan(breakdown.gain("missed"))


@TASKS
def test_an_iou_of_exactly_a_tenth(task):
    wide, beside = [0, 0, 11, 10], [9, 0, 11, 10]  # IoU 20 / 200
    assert counts(error_breakdown(truth(("car", wide)), detections(("car", beside, 0.9)), task)) == {
        "localisation": {"car": 1}
    }
    assert counts(error_breakdown(truth(("car", wide)), detections(("boat", beside, 0.9)), task)) == {
        "background": {"boat": 1},
        "missed": {"car": 1},
    }


@TASKS
def test_the_first_cause_that_holds(task):
    # IoU 3/7 with its own class, 1 with another
    both_classes = truth(("car", A), ("boat", SHIFTED))
    breakdown = error_breakdown(both_classes, detections(("car", SHIFTED, 0.9)), task)
    assert counts(breakdown) == {"localisation": {"car": 1}, "missed": {"boat": 1}}
    # a duplicate that lies on another class as well
    same_place = truth(("car", A), ("boat", A))
    breakdown = error_breakdown(same_place, detections(("car", A, 0.9), ("car", A, 0.8)), task)
    assert counts(breakdown) == {"classification": {"car": 1}}
    check(breakdown, (100, 0), classification=(100, 100))


@TASKS
def test_an_instance_is_mended_once_by_the_highest_score(task):
    found = detections(("car", [0, 4, 10, 10], 0.6), ("car", SHIFTED, 0.9), ("car", B, 0.7))
    breakdown = error_breakdown(truth(("car", A), ("car", B)), found, task)
    assert counts(breakdown) == {"localisation": {"car": 2}}
    check(breakdown, (100 * 51 / 101 / 2, NONE), localisation=(100, NONE))


@TASKS
def test_an_error_about_a_taken_instance_is_removed(task):
    found = detections(("car", SHIFTED, 0.9), ("car", A, 0.8), ("boat", A, 0.9), ("boat", B, 0.8))
    breakdown = error_breakdown(truth(("car", A), ("boat", B)), found, task)
    assert counts(breakdown) == {"localisation": {"car": 1}, "classification": {"boat": 1}}
    check(breakdown, (50, 50), localisation=(100, 50), classification=(50, 100))


@TASKS
def test_crowds_are_neither_missed_nor_errors(task):
    given = truth(("car", A), ("car", [50, 50, 40, 40]))
    given["annotations"][1]["iscrowd"] = 1
    breakdown = error_breakdown(given, detections(("car", FAR, 0.9), ("boat", FAR, 0.9), ("car", A, 0.8)), task)
    assert counts(breakdown) == {"background": {"boat": 1}}  # the crowd is of cars
    assert breakdown.instances.tolist() == [1, 0, 0]
    check(breakdown, (100, NONE))


@TASKS
def test_detections_beyond_the_limit_do_not_count(task):
    found = detections(("car", FAR, 0.9), ("boat", B, 0.8), ("car", A, 0.7))
    breakdown = error_breakdown(truth(("car", A), ("boat", B)), found, task, max_dets=1)
    assert counts(breakdown) == {"background": {"car": 1}, "missed": {"car": 1}}


def cocos_matches(given, found, task, max_dets):
    """pycocotools at IoU 0.5: the detections that hit, those that are wrong, and the instances that are hit."""
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = copy.deepcopy(given)
        reference.createIndex()
        unused = {"bbox": "segmentation", "segm": "bbox"}[task]
        loaded = reference.loadRes([{k: v for k, v in d.items() if k != unused} for d in copy.deepcopy(found)])
        evaluation = COCOeval(reference, loaded, task)
        evaluation.params.maxDets = [max_dets]
        evaluation.evaluate()
    hits, false, taken = set(), set(), set()
    for one in evaluation.evalImgs:
        if one is None or one["aRng"] != evaluation.params.areaRng[0]:
            continue
        for d, g, ignored in zip(one["dtIds"], one["dtMatches"][0], one["dtIgnore"][0]):
            if not ignored:
                (hits if g else false).add(d)
                taken |= {int(g)} if g else set()
    return hits, false, taken


@TASKS
@pytest.mark.parametrize("max_dets", [100, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_cases_against_coco(task, max_dets, seed):
    given, found = random_case(seed)
    breakdown = error_breakdown(given, found, task, max_dets)
    table = precision_table(given, found, task, [max_dets])
    assert breakdown.ap == pytest.approx(100 * table[0, :, :, 0, 0].mean(axis=0), abs=1e-9)
    assert all(breakdown.counts[cause].sum() > 0 for cause in CAUSES)
    assert all(breakdown.gain(cause) >= 0 for cause in breakdown.fixed)
    assert breakdown.instances.tolist() == [
        sum(a["category_id"] == c and not a["iscrowd"] for a in given["annotations"]) for c in CATEGORIES.values()
    ]
    hits, false, taken = cocos_matches(given, found, task, max_dets)
    assert sum(breakdown.counts[cause].sum() for cause in CAUSES if cause != "missed") == len(false)
    # The prices of all errors, by taking them out of the files.
    without = [d for i, d in enumerate(found, 1) if i in hits]
    price = average_precision(given, without, task, [max_dets])["AP50"] - np.mean(breakdown.ap)
    assert breakdown.gain(ALL_FALSE_POSITIVES) == pytest.approx(price)
    less = {**given, "annotations": [a for a in given["annotations"] if a["id"] in taken or a["iscrowd"]]}
    price = average_precision(less, found, task, [max_dets])["AP50"] - np.mean(breakdown.ap)
    assert breakdown.gain(ALL_FALSE_NEGATIVES) == pytest.approx(price)
