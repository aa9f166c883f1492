"""The one writer of COCO files, against COCO's own reader."""

import pytest
from faster_coco_eval import COCO

from insight.data.formats.coco_writer import open_coco

IMAGE = {"file_name": "\udcff.png", "height": 4, "width": 6}
ANNOTATION = {"category_id": 2, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0}


def test_entries_are_numbered_unless_they_have_ids(tmp_path):
    path = tmp_path / "new" / "a.json"
    with open_coco(path, ["ship", "tank"], {"description": "x"}) as coco:
        first = coco.add_image(IMAGE)
        coco.add({"image_id": first, **ANNOTATION})
        assert coco.add_image({**IMAGE, "id": 99}) == 99
        assert coco.add({"image_id": 99, **ANNOTATION, "id": -5}) == -5
        assert not path.exists()
    read = COCO(str(path))
    assert read.dataset["info"] == {"description": "x"}
    assert read.dataset["categories"] == [{"id": 1, "name": "ship"}, {"id": 2, "name": "tank"}]
    assert read.dataset["images"] == [{"id": 1, **IMAGE}, {"id": 99, **IMAGE}]
    assert [a["id"] for a in read.dataset["annotations"]] == [1, -5]
    assert (coco.images, coco.annotations) == (2, 2)


@pytest.mark.parametrize("images", [0, 1])
def test_a_file_without_annotations(tmp_path, images):
    with open_coco(tmp_path / "a.json", [{"id": 7, "name": "ship", "supercategory": "boat"}]) as coco:
        for _ in range(images):
            coco.add_image(IMAGE)
    read = COCO(str(tmp_path / "a.json")).dataset
    assert len(read["images"]) == images and read["annotations"] == []
    assert read["categories"] == [{"id": 7, "name": "ship", "supercategory": "boat"}]
