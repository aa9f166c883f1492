"""Foreground ratios against numbers computed by hand and bitmaps of pycocotools."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from insight.data.inspection.foreground import foreground_ratios, shares


@pytest.fixture
def annotations(tmp_path):
    """Five images of 10 x 10: two overlapping squares, RLE, a rectangle, nothing, and all of it."""
    images = [{"id": i, "file_name": f"{i}.png", "height": 10, "width": 10} for i in (5, 4, 3, 2, 1)]
    masks = [
        (1, [0, 0, 4, 4], [[0, 0, 4, 0, 4, 4, 0, 4]]),
        (1, [2, 2, 4, 4], [[2, 2, 6, 2, 6, 6, 2, 6]]),
        (2, [0, 0, 1, 10], {"size": [10, 10], "counts": [0, 10, 90]}),
        (3, [5, 5, 2, 3], [[5, 5, 7, 5, 7, 8, 5, 8]]),
        (5, [0, 0, 10, 10], [[0, 0, 10, 0, 10, 10, 0, 10]]),
    ]
    annos = [
        {"id": k, "image_id": i, "category_id": 1, "bbox": box, "segmentation": mask}
        for k, (i, box, mask) in enumerate(masks, start=1)
    ]
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"images": images, "annotations": annos, "categories": [{"id": 1, "name": "a"}]}))
    return path


def test_by_hand(annotations):
    assert foreground_ratios(annotations).tolist() == [0.28, 0.10, 0.06, 0, 1]
    content = json.loads(annotations.read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    annotations.write_text(json.dumps(content))  # the masks fill the boxes
    assert foreground_ratios(annotations).tolist() == [0.28, 0.10, 0.06, 0, 1]
    assert shares(np.array([0.28, 0.1, 0.06, 0, 1])).tolist() == [0.4, 0.2, 0.4]
    assert shares(np.array([0.0]), [0, 0.5, 1]).tolist() == [1, 0]


@pytest.mark.real_data
def test_real_images_by_their_bitmaps(real_data):
    path = real_data / "nwpu_vhr10" / "annotations" / "instances_val.json"
    ratios = foreground_ratios(path)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    for i in range(0, 130, 8):
        image = coco.imgs[sorted(coco.imgs)[i]]
        covered = np.zeros((image["height"], image["width"]), bool)
        for annotation in coco.imgToAnns[image["id"]]:
            covered |= coco.annToMask(annotation).astype(bool)
        assert ratios[i] == pytest.approx(covered.mean())
