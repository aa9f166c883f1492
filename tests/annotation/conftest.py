"""A dataset of boxes, and a segmenter whose masks are known beforehand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from insight.annotation.filters import Filters
from insight.modeling.sopseg.segment import SegmentedObjects

SIZE = (60, 80)  # height, width of an image
# By image: boxes x1, y1, x2, y2 and class. What `FilledBoxes` scores is x1 / 100.
BOXES = {
    "a": [(60, 10, 70, 30, "ship"), (20, 5, 30, 15, "tank"), (70, 40, 90, 50, "ship"), (10, 200, 20, 210, "ship")],
    "b": [],
    "c": [(65, 30, 75, 40, "ship"), (50, 50, 50, 50, "tank"), (78, 2, 79, 3, "tank")],
}


class FilledBoxes:
    """Every mask is the box around the prompt; its score is the box's left edge / 100. Counts what it is asked."""

    def __init__(self, settings=None):
        self.settings = settings or {"weights": "none"}
        self.asked = 0

    def __call__(self, image, prompts):
        assert image.dtype == torch.uint8 and image.shape[0] == 3
        boxes = prompts.boxes
        for start in range(0, len(boxes), 3):  # in batches, as models do
            index = torch.arange(start, min(start + 3, len(boxes)))
            self.asked += len(index)
            logits = torch.ones(len(index), 4, 4)
            yield SegmentedObjects(index, logits, boxes[index], boxes[index, 0] / 100, logits)


def write_dota(folder: Path, boxes=BOXES, size=SIZE) -> Path:
    generator = np.random.default_rng(0)
    for name in ("images", "labelTxt"):
        (folder / name).mkdir(parents=True)
    for name, lines in boxes.items():
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / "images" / f"{name}.png")
        text = "".join(f"{a} {b} {c} {b} {c} {d} {a} {d} {kind} 0\n" for a, b, c, d, kind in lines)
        (folder / "labelTxt" / f"{name}.txt").write_text(f"gsd:0.1\n{text}")
    return folder


@pytest.fixture
def dota(tmp_path):
    """A folder as DOTA's."""
    return write_dota(tmp_path / "dota")


@pytest.fixture
def segmenter():
    return FilledBoxes()


@pytest.fixture(scope="session")
def filled_boxes():
    return FilledBoxes


@pytest.fixture(scope="session")
def filters():
    return Filters(min_score=0.3)


@pytest.fixture(scope="session")
def write_boxes():
    return write_dota


@pytest.fixture
def read_folder():
    """All files of a run but its journal and its lock."""

    def read(folder):
        return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.suffix != ".journal" and p.name != ".lock"}

    return read


@pytest.fixture
def write_coco(tmp_path):
    """A COCO file of boxes of two images, with what is given put in its place."""

    def write(**changes):
        folder = tmp_path / "coco"
        (folder / "images" / "sub").mkdir(parents=True, exist_ok=True)
        for name in ("z.png", "sub/y.png"):
            Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "images" / name)
        content = {
            "images": [
                {"id": 9, "file_name": "z.png", "height": SIZE[0], "width": SIZE[1]},
                {"id": 4, "file_name": "sub/y.png", "height": SIZE[0], "width": SIZE[1]},
            ],
            "categories": [{"id": 7, "name": "tank", "supercategory": "x"}, {"id": 3, "name": "ship"}],
            "annotations": [
                {"id": 50, "image_id": 4, "category_id": 7, "bbox": [30.5, 20, 10, 10]},
                {"id": 20, "image_id": 9, "category_id": 3, "bbox": [40, 20, 20, 10]},
                {"id": 21, "image_id": 9, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
                {
                    "id": 22,
                    "image_id": 9,
                    "category_id": 7,
                    "bbox": [40, 10, 20, 20],
                    "oriented_box": [50, 20, 20, 10, 30],
                },
            ],
            **changes,
        }
        (folder / "boxes.json").write_text(json.dumps(content))
        return folder / "boxes.json", folder / "images"

    return write
