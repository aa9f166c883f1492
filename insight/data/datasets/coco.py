"""COCO JSON files as Detectron2 data sets, checked so that a mistake in a file is one line and not a crash later on."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from pycocotools import mask as coco_mask

from insight.data.coco_file import read_coco
from insight.data.file_check import FileCheck, first, repeated

_logger = logging.getLogger(__name__)


def register_coco(
    name: str,
    annotations: Path,
    image_root: Path,
    *,
    classes: Sequence[str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Register a COCO JSON file under a name. Nothing is read before the data set is used.

    Args:
        name: what DATASETS.TRAIN and DATASETS.TEST call it.
        annotations: the JSON file.
        image_root: folder that the file names in it are relative to.
        classes: the names of the classes that count, in this order, see `load_coco`; None: all that the file has.
        prepare: called before the file is read, to make it.
    """

    def load() -> list[dict]:
        if prepare is not None:
            prepare()
        dicts, names, ids = load_coco(annotations, image_root, classes)
        MetadataCatalog.get(name).set(
            thing_classes=names, thing_dataset_id_to_contiguous_id={category: i for i, category in enumerate(ids)}
        )
        return dicts

    DatasetCatalog.register(name, load)
    metadata = MetadataCatalog.get(name)
    metadata.set(json_file=str(annotations), image_root=str(image_root), evaluator_type="coco")
    if classes is not None:
        metadata.set(thing_classes=list(classes))


def register_from_config(cfg: CfgNode) -> None:
    """Register what DATASETS.COCO lists: [["name", "annotations.json", "image folder"], ...].

    Entries that are registered already, with the same files, are left alone.

    Args:
        cfg: the config.

    Raises:
        ValueError: an entry of another form, a file or folder that does not exist, or a name that is taken.
    """
    for i, entry in enumerate(cfg.DATASETS.COCO):
        where = f"DATASETS.COCO[{i}]"
        if not isinstance(entry, (list, tuple)) or len(entry) != 3 or not all(isinstance(e, str) for e in entry):
            raise ValueError(f'{where}: expected ["name", "annotations.json", "image folder"], got {entry!r}')
        name, annotations, image_root = entry[0], Path(entry[1]).expanduser(), Path(entry[2]).expanduser()
        if not annotations.is_file():
            raise ValueError(f"{where} ({name}): no such file: {annotations}")
        if not image_root.is_dir():
            raise ValueError(f"{where} ({name}): no such folder: {image_root}")
        if name in DatasetCatalog.list():
            metadata = MetadataCatalog.get(name)
            files = (metadata.get("json_file"), metadata.get("image_root"))
            if files != (str(annotations), str(image_root)):
                raise ValueError(f"{where}: the name {name!r} is taken by another data set; choose another")
            continue
        register_coco(name, annotations, image_root)


def load_coco(
    annotations: Path, image_root: Path, classes: Sequence[str] | None = None
) -> tuple[list[dict], list[str], list[int]]:
    """Read and check a COCO JSON file.

    Category ids may have gaps; they are mapped to 0, 1, 2 ... in increasing order, or in the order of `classes`.
    Annotations whose box or mask has no area are left out, with one warning. Images without annotations are kept.

    Args:
        annotations: the JSON file.
        image_root: folder of the images.
        classes: names of the categories that count; annotations of others are left out. None: all of them.

    Returns:
        Detectron2's dataset dicts in order of image id, the class names, the category ids of the classes.

    Raises:
        ValueError: what is wrong with the file, in one line, with the number of offenders and the first of them.
        OSError: the file is missing or cannot be read.
    """
    annotations, image_root = Path(annotations), Path(image_root)
    check = FileCheck(annotations)
    try:
        content = read_coco(annotations)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} (INSIGHT_DATA names the folder of the built-in data sets)") from error
    by_id = {c["id"]: c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])}
    ids = list(by_id) if classes is None else _ids_of(classes, by_id, check)
    sizes = {i["id"]: (i["height"], i["width"]) for i in content["images"]}
    files = {i["id"]: image_root / i["file_name"] for i in content["images"]}
    check.fails_if_any((str(f) for f in files.values() if not f.is_file()), "images are missing on disk")

    index = {category: i for i, category in enumerate(ids)}
    objects = defaultdict(list)
    empty = []
    for annotation in content["annotations"]:
        if annotation["category_id"] not in index:
            continue
        converted = _convert(annotation, index, sizes[annotation["image_id"]])
        if converted is None:
            empty.append(annotation["id"])
        else:
            objects[annotation["image_id"]].append(converted)
    if empty:
        _logger.warning(f"{annotations}: left out {len(empty)} annotations without area: ids {first(empty)}")
    dicts = [
        {
            "file_name": str(files[i]),
            "image_id": i,
            "height": sizes[i][0],
            "width": sizes[i][1],
            "annotations": objects[i],
        }
        for i in sorted(sizes)
    ]
    return dicts, [by_id[i] for i in ids], ids


def _ids_of(classes: Sequence[str], names: dict[int, str], check: FileCheck) -> list[int]:
    """The category id of each class."""
    check.fails_if_any(repeated(names.values()), "category names are not unique")
    known = f"are in no category (they are {first(names.values(), 20)})"
    check.fails_if_any((name for name in classes if name not in names.values()), f"classes {known}")
    by_name = {name: category for category, name in names.items()}
    return [by_name[name] for name in classes]


def _convert(annotation: dict, index: dict[int, int], size: tuple[int, int]) -> dict | None:
    """A COCO annotation as Detectron2's, or None if it has no area."""
    width, height = annotation["bbox"][2:]
    if width <= 0 or height <= 0:
        return None
    result = {
        "bbox": annotation["bbox"],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": index[annotation["category_id"]],
        "iscrowd": annotation.get("iscrowd", 0),
    }
    mask = annotation.get("segmentation")
    if isinstance(mask, dict):
        if isinstance(mask["counts"], list):
            mask = coco_mask.frPyObjects(mask, *size)
        if coco_mask.area(mask) == 0:
            return None
        result["segmentation"] = mask
    elif mask:
        polygons = [p for p in mask if len(p) >= 6]
        if not polygons:
            return None
        result["segmentation"] = polygons
    return result
