"""Writing COCO JSON files entry by entry. Needs no Detectron2."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import IO, Any

from insight.runtime.atomic_files import atomic_write


class CocoWriter:
    """Writes images and annotations; see `open_coco`.

    Args:
        file: the open file.

    Attributes:
        images, annotations: number of entries written.
    """

    def __init__(self, file: IO[str]):
        self._file = file
        self._images: list[str] = []
        self.images = self.annotations = 0

    def add_image(self, image: dict[str, Any]) -> int | str:
        """Write an image.

        Args:
            image: with file_name, height and width; "id" defaults to its number, from 1.

        Returns:
            The id.
        """
        self.images += 1
        image = {"id": self.images, **image}
        self._images.append(_json(image))
        return image["id"]

    def add(self, annotation: dict[str, Any]) -> int | str:
        """Write an annotation.

        Args:
            annotation: with image_id and category_id; "id" defaults to its number, from 1.

        Returns:
            The id.
        """
        separator = ",\n" if self.annotations else "\n"
        self.annotations += 1
        annotation = {"id": self.annotations, **annotation}
        self._file.write(separator + _json(annotation))
        return annotation["id"]

    def finish(self) -> None:
        """Write the images, which are few, behind the annotations."""
        images = ",\n".join(self._images)
        self._file.write(f'\n],"images":[\n{images}\n]}}\n')


@contextlib.contextmanager
def open_coco(
    path: str | os.PathLike, categories: Sequence[dict[str, Any] | str], info: dict[str, Any] | None = None
) -> Iterator[CocoWriter]:
    """Write a COCO JSON file, which appears when it is complete.

    Memory does not grow with the annotations. The same entries give the same bytes.

    Args:
        path: the file; its folder is made if needed.
        categories: COCO categories, or names, whose ids then count from 1.
        info: COCO's "info" section.

    Yields:
        The writer.

    Raises:
        OSError: the file cannot be written.
    """
    categories = [{"id": i, "name": c} if isinstance(c, str) else c for i, c in enumerate(categories, 1)]
    head = {"categories": categories} if info is None else {"info": info, "categories": categories}
    with atomic_write(path) as file:
        file.write(f'{_json(head)[:-1]},"annotations":[')
        writer = CocoWriter(file)
        yield writer
        writer.finish()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
