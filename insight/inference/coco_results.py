"""Predictions as a COCO JSON file, gathered image by image so that a long run can go on after a kill."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.structures import Instances

from insight.evaluation.coco import instances_to_coco
from insight.runtime.atomic_files import atomic_write
from insight.runtime.journal import Journal


def to_annotations(instances: Instances) -> list[dict[str, Any]]:
    """The instances of one image as COCO annotations; `CocoResults` numbers them and their image.

    Args:
        instances: pred_boxes (N XYXY, pixels of the image), pred_classes, scores and perhaps pred_masks (RLEMasks).

    Returns:
        N dictionaries with category_id (from 1), bbox (XYWH), area, score, iscrowd and perhaps segmentation (RLE).
    """
    annotations = []
    areas = instances.pred_masks.areas() if instances.has("pred_masks") else instances.pred_boxes.area()
    for detection, area in zip(instances_to_coco(instances, image_id=0), areas.tolist(), strict=True):
        detection["category_id"] += 1
        detection["bbox"] = [round(value, 2) for value in detection["bbox"]]
        annotations.append({**detection, "score": round(detection["score"], 5), "area": round(area, 2), "iscrowd": 0})
    return annotations


class CocoResults:
    """A COCO JSON file in the making.

    Every image's results go at once to `<path>.part`, a line each. A later run with the same `settings` finds them
    there. `finish` turns them into the file.

    Args:
        path: the JSON file to make.
        class_names: names of the classes; category ids count from 1.
        settings: all that the results depend on, as JSON values; a `.part` of other settings is thrown away.
        images: what tells each image from another of its name, as JSON values, by file name. Only results of these
            count.
    """

    def __init__(
        self, path: str | os.PathLike, class_names: list[str], settings: dict[str, Any], images: Mapping[str, Any]
    ):
        self.path, self.class_names = Path(path), class_names
        self._journal = Journal(f"{path}.part", settings)
        self._keys = {name: json.dumps([name, which]) for name, which in images.items()}

    def __contains__(self, file_name: str) -> bool:
        return self._keys.get(file_name) in self._journal

    def add(self, file_name: str, instances: Instances, oriented: Sequence[Sequence[float]] = ()) -> None:
        """Keep the results of an image.

        Args:
            file_name: of one of the images.
            instances: as `to_annotations` takes them.
            oriented: the oriented boxes that the last of them answer, 8 coordinates of corners each, pixels.
        """
        height, width = instances.image_size
        annotations = to_annotations(instances)
        for annotation, corners in zip(annotations[len(annotations) - len(oriented) :], oriented, strict=True):
            annotation["oriented_box"] = [round(coordinate, 2) for coordinate in corners]
        result = {
            "image": {"file_name": file_name, "height": height, "width": width},
            "annotations": annotations,
        }
        self._journal.add(self._keys[file_name], result)

    def finish(self) -> None:
        """Write the file, in order of file name, and remove the `.part`."""
        content = {
            "images": [],
            "annotations": [],
            "categories": [{"id": i, "name": name} for i, name in enumerate(self.class_names, 1)],
        }
        for image_id, file_name in enumerate(sorted(name for name in self._keys if name in self), 1):
            result = self._journal[self._keys[file_name]]
            content["images"].append({"id": image_id, **result["image"]})
            for annotation in result["annotations"]:
                annotation_id = len(content["annotations"]) + 1
                content["annotations"].append({"id": annotation_id, **annotation, "image_id": image_id})
        with atomic_write(self.path) as file:
            json.dump(content, file)
        self._journal.path.unlink()

    def discard(self) -> None:
        """Remove the `.part`; a file that an earlier run made stays."""
        self._journal.path.unlink()
