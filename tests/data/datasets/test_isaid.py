"""iSAID, where its images are."""

import pytest

pytest.importorskip("detectron2")

from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.coco_counts import class_counts, file_counts

from insight.data.datasets.isaid import CLASSES, SMALL_CLASSES


def test_the_small_classes_are_some_of_all():
    assert len(set(SMALL_CLASSES)) == 7 and set(SMALL_CLASSES) < set(CLASSES) and len(set(CLASSES)) == 15
    assert MetadataCatalog.get("isaid_tiles_small_train").thing_classes == list(SMALL_CLASSES)


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "images", "instances"), [("train", 1400, 29175), ("val", 200, 4913)])
def test_tiles(real_data, split, images, instances):
    expected = file_counts(real_data / "isaid_tiles" / f"instances_{split}.json")
    every = DatasetCatalog.get(f"isaid_tiles_{split}")
    small = DatasetCatalog.get(f"isaid_tiles_small_{split}")
    assert len(every) == len(small) == images
    assert class_counts(every, CLASSES) == expected and sum(expected.values()) == instances
    assert class_counts(small, SMALL_CLASSES) == {k: v for k, v in expected.items() if k in SMALL_CLASSES}
