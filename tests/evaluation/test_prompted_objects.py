"""Which objects are prompted for, and the noise of their prompts."""

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny import write_dataset
from pycocotools import mask as coco_mask

from insight.data.datasets.coco import register_coco
from insight.evaluation import prompted_objects
from insight.evaluation.prompted_objects import CONDITIONS, Condition, PromptedObject, choose_objects
from insight.structures.oriented_boxes import rle_rectangle


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    json_file, images = write_dataset(tmp_path_factory.mktemp("objects"))
    register_coco("prompted_rectangles", json_file, images)
    yield "prompted_rectangles"
    DatasetCatalog.remove("prompted_rectangles")
    MetadataCatalog.remove("prompted_rectangles")


def places(images):
    return {(one.image_id, one.index) for image in images for one in image.objects}


def test_all_objects_with_their_boxes_and_rectangles(dataset):
    images, totals = choose_objects(dataset)
    annotations = [a for entry in DatasetCatalog.get(dataset) for a in entry["annotations"]]
    assert sum(totals.values()) == sum(len(image.objects) for image in images) == len(annotations)
    for image in images:
        for one in image.objects:
            x, y, width, height = coco_mask.toBbox(one.truth)
            corners = one.prompt(Condition("horizontal", 0.0))
            torch.testing.assert_close(corners, one.prompt(Condition("oriented", 0.0)))  # they are rectangles
            assert corners.tolist() == [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
            assert one.sides == (min(width, height), max(width, height))


def test_a_choice_has_equal_shares_and_is_part_of_a_larger_one(dataset):
    chosen = {count: choose_objects(dataset, count, seed=1)[0] for count in (2, 6, 8)}
    labels = [one.label for image in chosen[6] for one in image.objects]
    assert np.bincount(labels).tolist() == [3, 3]
    assert places(chosen[2]) < places(chosen[6]) < places(chosen[8])
    assert places(choose_objects(dataset, 6, seed=2)[0]) != places(chosen[6])
    assert places(choose_objects(dataset, 10**6)[0]) == places(choose_objects(dataset)[0])


@pytest.mark.parametrize(
    "available, count, shares",
    [
        ({0: 9, 1: 9}, 4, {0: 2, 1: 2}),
        ({0: 1, 1: 9, 2: 9}, 9, {0: 1, 1: 4, 2: 4}),
        ({0: 2, 1: 3}, 9, {0: 2, 1: 3}),
        ({0: 9, 1: 9, 2: 9}, 2, {0: 1, 1: 1, 2: 0}),
    ],
)
def test_classes_with_few_objects_leave_their_share_to_others(available, count, shares):
    assert prompted_objects._shares(available, count) == shares


def test_noise_is_the_objects_own_and_in_proportion():
    mask = np.zeros((60, 80), np.uint8, order="F")
    mask[10:30, 20:70] = 1
    truth = coco_mask.encode(mask)
    first, again, other, elsewhere = (
        PromptedObject(image, index, 0, truth, rle_rectangle(truth), torch.tensor([20.0, 10, 70, 30]))
        for image, index in ((5, 0), (5, 0), (5, 1), ("5", 1))
    )
    for kind in ("oriented", "horizontal"):
        exact, small, large = (first.prompt(Condition(kind, jitter)) for jitter in (0.0, 0.1, 0.3))
        torch.testing.assert_close(large - exact, 3 * (small - exact), atol=1e-4, rtol=0)
        assert torch.equal(again.prompt(Condition(kind, 0.1)), small)
        assert not torch.equal(other.prompt(Condition(kind, 0.1)), small)
        moves = (small - exact).abs()
        assert (moves <= torch.tensor([5.0001, 2.0001])).all() and moves.max() > 0
    assert torch.equal(other.prompt(CONDITIONS[3]), elsewhere.prompt(CONDITIONS[3]))  # ids of a JSON file or of Python
