"""A COCO file of masks, written as they come."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import IO, Any

from insight.runtime.atomic_files import atomic_write

from .candidates import Candidate
from .sources import SourceImage


class CocoWriter:
    """Write images and annotations to a file that `open_coco` has opened.

    Args:
        file: the file.
        categories: COCO categories.
    """

    def __init__(self, file: IO[str], categories: list[dict[str, Any]]):
        self._file = file
        self._ids = {category["name"]: category["id"] for category in categories}
        self._images: list[dict[str, Any]] = []
        self._separator = ""

    def add_image(self, image: SourceImage, size: tuple[int, int]) -> None:
        """Write an image of (height, width)."""
        self._images.append({"id": image.id, "file_name": image.name, "height": size[0], "width": size[1]})

    def add(self, candidate: Candidate) -> None:
        """Write a mask as annotation, with its box as the source gave it; bbox is the mask's where it gave none."""
        measured = candidate.measured
        annotation = {
            "id": candidate.id,
            "image_id": candidate.image.id,
            "category_id": self._ids[candidate.class_name],
            "bbox": measured["bbox"],
            "area": measured["area"],
            "iscrowd": 0,
            "segmentation": candidate.code,
            "score": measured["score"],
            **candidate.given,
        }
        self._file.write(f"{self._separator}\n{json.dumps(annotation)}")
        self._separator = ","

    def finish(self) -> None:
        """Write the images, which are few, after the annotations."""
        images = ",\n".join(map(json.dumps, self._images))
        self._file.write(f'\n],\n"images": [\n{images}\n]}}\n')


@contextlib.contextmanager
def open_coco(path: str | os.PathLike, categories: list[dict[str, Any]], info: dict[str, Any]) -> Iterator[CocoWriter]:
    """Write a COCO file that appears when all of it is written; memory does not grow with the annotations.

    Args:
        path: the file.
        categories: COCO's.
        info: what to say of the file in it.

    Yields:
        What writes.
    """
    with atomic_write(path) as file:
        head = json.dumps({"info": info, "categories": categories})
        file.write(f'{head[:-1]},\n"annotations": [')
        writer = CocoWriter(file, categories)
        yield writer
        writer.finish()
