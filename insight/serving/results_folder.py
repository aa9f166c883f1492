"""The results folder of `insight annotate`: its masks become objects of the page, and the page's objects its masks."""

import csv
import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from insight.annotation.review import COLUMNS, changes_by_hand
from insight.annotation.run import COCO, REVIEW
from insight.data.formats.coco_writer import open_coco
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.json_values import parse_json
from insight.runtime.locks import output_folder
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.rle import segmentation_to_rle

from .coco_content import FROM_ANNOTATE, coco_content
from .label_boxes import among, box_corners
from .library import Library, ServedImage
from .outlines import mask_outline
from .store import Store

Object = tuple[str, dict[str, Any], str | None]  # id of the image, fields, id
_RUN = "run"  # key of a file's "info" by which the page knows the masks that it has taken over


def import_results(folder: Path, library: Library, store: Store) -> int:
    """Add the masks of an annotation run to the store, unless they have been added before.

    Args:
        folder: results of `insight annotate`; nothing happens while it has no instances.json.
        library: the images.
        store: gets an accepted object for each mask.

    Returns:
        The number of objects that were added.

    Raises:
        InputError: instances.json or review.csv is malformed, or no image of instances.json is served.
    """
    changes_by_hand(Path(folder) / REVIEW)  # otherwise a malformed file would be reported only when results are written
    path = Path(folder) / COCO
    if not path.is_file():
        return 0
    text = path.read_bytes()
    content = parse_json(text, str(path))
    try:
        name = _run_of(content, text)
        if store.has_imported(name):
            return 0
        found = list(_new(_objects(content, library, path), store))
        classes = [category["name"] for category in content["categories"]]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a COCO file of masks ({error!r:.200})") from error
    return store.import_once(name, found, classes, _without_mask(found, store))


def _run_of(content: dict[str, Any], text: bytes) -> str:
    """What identifies a run: what the page noted in its file, or the file itself, which the page will write again."""
    return content.get("info", {}).get(_RUN) or hashlib.sha256(text).hexdigest()[:16]


def _new(objects: Iterable[Object], store: Store) -> Iterator[Object]:
    """The objects whose boxes none of the accepted objects has: a run may have been made again."""
    for image, of_image in groupby(objects, key=lambda found: found[0]):
        stored = box_corners(one for one in store.objects(image) if one["state"] == "accepted")
        yield from (found for found in of_image if not among(box_corners([found[1]])[0], stored))


def _without_mask(found: list[Object], store: Store) -> list[str]:
    """Ids of candidates whose boxes have masks now."""
    contents: dict[str, list[dict[str, Any]]] = {}
    for image, content, _ in found:
        contents.setdefault(image, []).append(content)
    ids = []
    for image, own in contents.items():
        candidates = [o for o in store.objects(image) if o["state"] == "candidate" and o["source"] == "prompt"]
        with_mask = box_corners(own)
        ids += [o["id"] for o, corners in zip(candidates, box_corners(candidates)) if among(corners, with_mask)]
    return ids


def export_results(folder: Path, library: Library, store: Store) -> None:
    """Write instances.json as `insight annotate` does, and note in review.csv which of its masks were removed.

    Args:
        folder: the results folder, made if need be.
        library: the images.
        store: the objects; the accepted ones are written.

    Raises:
        OSError: it cannot be written, or an annotation run is writing there.
    """
    with output_folder(folder) as folder:
        path = folder / COCO
        text = path.read_bytes() if path.is_file() else None
        before = {} if text is None else parse_json(text, str(path))
        run = uuid.uuid4().hex if text is None else _run_of(before, text)
        store.import_once(run, [], [])  # what is written now is there already
        known = {category["name"]: category["id"] for category in before.get("categories", [])}
        content = coco_content(library, store, category_ids=known)
        info = {**before.get("info", {}), "edited": "by hand", _RUN: run}
        with open_coco(path, content["categories"], info) as coco:
            for image in content["images"]:
                coco.add_image(image)
            for annotation in content["annotations"]:
                coco.add(annotation)
        if (folder / REVIEW).is_file():
            _note_removed(folder / REVIEW, {str(annotation["id"]) for annotation in content["annotations"]}, library)


def _objects(content: dict[str, Any], library: Library, path: Path) -> Iterator[Object]:
    images = _images(content["images"], library, path)
    classes = {category["id"]: category["name"] for category in content["categories"]}
    for annotation in content["annotations"]:
        image, size = images.get(annotation["image_id"], (None, (0, 0)))
        if image is None or not annotation.get("segmentation"):
            continue
        oriented = annotation.get("oriented_box")
        x, y, width, height = annotation["bbox"]
        yield (
            image.id,
            {
                "class": classes[annotation["category_id"]],
                "box": None if oriented else [x, y, x + width, y + height],
                "oriented_box": oriented_corners([oriented])[0].tolist() if oriented else None,
                "points": [],
                "labels": [],
                "polygons": mask_outline(segmentation_to_rle(annotation["segmentation"], size)),
                "score": annotation.get("score"),
                "source": "prompt",
                "state": "accepted",
            },
            f"{FROM_ANNOTATE}{annotation['id']}",
        )


def _images(entries: list[dict], library: Library, path: Path) -> dict[Any, tuple[ServedImage, tuple[int, int]]]:
    """By the ids of the file. Names may begin at another folder than ours."""
    by_name = {image.name: image for image in library.images}
    ends = Counter(os.path.basename(name) for name in by_name)
    by_end = {os.path.basename(name): image for name, image in by_name.items() if ends[os.path.basename(name)] == 1}
    found = {}
    for entry in entries:
        name = entry["file_name"]
        image = by_name.get(name) or by_end.get(os.path.basename(name))
        if image is not None:
            found[entry["id"]] = (image, (entry["height"], entry["width"]))
    if entries and not found:
        raise InputError(f"{path}: none of its images, such as {entries[0]['file_name']:.100}, is served")
    return found


def _note_removed(path: Path, kept: set[str], library: Library) -> None:
    """Decide "drop" for the masks of a review file that are kept in it and gone from the page."""
    served = {os.path.basename(image.name) for image in library.images}
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        names = {row["id"].strip(), row["id"].strip().removeprefix("'")}
        is_gone = row["decision"].strip() == "keep" and kept.isdisjoint(names)
        if is_gone and os.path.basename(row["image"].removeprefix("'")) in served:
            row["decision"] = "drop"
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
