"""A COCO JSON file of predictions, collected image by image so that an interrupted run can be resumed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insight.runtime.journal import Journal

from .prediction import Prediction, write_coco


class CocoResults:
    """Collects the predictions of many images and writes them as one COCO JSON file.

    The results of each image are appended to `<path>.part` at once. A later run with the same `settings` finds them
    there. `finish` turns them into the file.

    Args:
        path: the JSON file to write.
        class_names: names of the classes; category ids count from 1.
        settings: everything the results depend on, as JSON values; a `.part` of other settings is discarded.
        images: by file name, JSON values that identify the image's content. Only results for exactly these images are
            kept.
    """

    def __init__(
        self, path: str | os.PathLike, class_names: list[str], settings: dict[str, Any], images: Mapping[str, Any]
    ):
        self.path, self.class_names = Path(path), class_names
        self._journal = Journal(f"{path}.part", settings)
        self._keys = {name: json.dumps([name, which]) for name, which in images.items()}

    def __contains__(self, file_name: str) -> bool:
        key = self._keys.get(file_name)
        return key is not None and key in self._journal

    def add(self, file_name: str, prediction: Prediction) -> None:
        """Append the results of an image.

        Args:
            file_name: name of one of the images.
            prediction: its instances.
        """
        height, width = prediction.image_size
        annotations = prediction.to_coco()
        self._journal.add(self._keys[file_name], {"size": [height, width], "annotations": annotations})

    def finish(self) -> None:
        """Write the file, ordered by file name, and remove the `.part`."""
        names = sorted(name for name in self._keys if name in self)
        results = ((name, self._journal[self._keys[name]]) for name in names)
        images = ((name, result["size"], result["annotations"]) for name, result in results)
        write_coco(self.path, images, self.class_names)
        self._journal.path.unlink()

    def discard(self) -> None:
        """Remove the `.part`; the file of an earlier run stays."""
        self._journal.path.unlink()
