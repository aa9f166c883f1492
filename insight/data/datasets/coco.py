"""COCO JSON files as Detectron2 datasets."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from insight.data.formats.coco import plain_name, read_coco
from insight.data.formats.decoding import without_undecodable
from insight.data.formats.file_check import SKIP_HINT_IN_CONFIG, FileCheck, first
from insight.errors import InputError
from insight.runtime.words import counted
from insight.structures.rle import segmentation_to_rle

_BAD = ("strict", "skip")
_strict = True  # value of DATASETS.BAD; Detectron2 loads a dataset by its name, without a config at hand

_logger = logging.getLogger(__name__)


def is_strict() -> bool:
    """Return whether DATASETS.BAD is strict, the default until a config sets it."""
    return _strict


def register_coco(
    name: str,
    annotations: Path,
    image_root: Path,
    *,
    classes: Sequence[str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Register a COCO JSON file as a dataset. The file is read when the dataset is first used.

    Args:
        name: name for DATASETS.TRAIN and DATASETS.TEST.
        annotations: the JSON file.
        image_root: folder that the file names in it are relative to.
        classes: names of the classes to use, in this order, see `load_coco`; None for all classes of the file.
        prepare: called before the file is read, to create it.
    """

    def load() -> list[dict]:
        if prepare is not None:
            prepare()
        dicts, names, ids = load_coco(annotations, image_root, classes, _strict)
        MetadataCatalog.get(name).set(
            thing_classes=names, thing_dataset_id_to_contiguous_id={category: i for i, category in enumerate(ids)}
        )
        return dicts

    DatasetCatalog.register(name, load)
    metadata = MetadataCatalog.get(name)
    metadata.set(json_file=str(annotations), image_root=str(image_root), evaluator_type="coco")
    if classes is not None:
        metadata.set(thing_classes=list(classes))
    if prepare is not None:
        metadata.set(prepare=prepare)


def register_from_config(cfg: CfgNode) -> None:
    """Register the entries of DATASETS.COCO and apply DATASETS.BAD from now on.

    An entry is ["name", "annotations.json", "image folder"], optionally followed by the list of classes to use.
    Entries that are already registered with the same files are left alone.

    Args:
        cfg: the config.

    Raises:
        InputError: a malformed entry, a missing file or folder, or a name that is taken.
    """
    global _strict
    if cfg.DATASETS.BAD not in _BAD:
        raise InputError(f"DATASETS.BAD: expected {' or '.join(_BAD)}, got {cfg.DATASETS.BAD!r}")
    _strict = cfg.DATASETS.BAD == "strict"
    for i, entry in enumerate(cfg.DATASETS.COCO):
        where = f"DATASETS.COCO[{i}]"
        if not _is_entry(entry):
            expected = '["name", "annotations.json", "image folder"], optionally followed by a list of classes'
            raise InputError(f"{where}: expected {expected}, got {entry!r}")
        name, annotations, image_root = entry[0], Path(entry[1]).expanduser(), Path(entry[2]).expanduser()
        classes = list(entry[3]) if len(entry) == 4 else None
        if not annotations.is_file():
            raise InputError(f"{where} ({name}): no such file: {annotations}")
        if not image_root.is_dir():
            raise InputError(f"{where} ({name}): no such folder: {image_root}")
        if name in DatasetCatalog.list():
            metadata = MetadataCatalog.get(name)
            files = (metadata.get("json_file"), metadata.get("image_root"))
            if files != (str(annotations), str(image_root)) or classes not in (None, metadata.get("thing_classes")):
                raise InputError(f"{where}: the name {name!r} is taken by another dataset; choose another")
            continue
        register_coco(name, annotations, image_root, classes=classes)


def require_same_classes(names: Sequence[str]) -> None:
    """Check that datasets used together have the same classes in the same order.

    Args:
        names: registered datasets; loaded if their classes are not known yet.

    Raises:
        InputError: two differ in their classes; or see `load_coco`.
    """
    for name in names:
        if MetadataCatalog.get(name).get("thing_classes") is None:
            DatasetCatalog.get(name)
    classes = {name: list(MetadataCatalog.get(name).thing_classes) for name in names}
    for name in names[1:]:
        if classes[name] != classes[names[0]]:
            raise InputError(
                f"datasets {names[0]} and {name} have different classes or orders of classes: "
                f"{first(classes[names[0]], 20)} and {first(classes[name], 20)}; the fourth element of an entry of "
                "DATASETS.COCO sets them"
            )


def require_class_count(count: int, name: str) -> None:
    """Check that a detector has as many classes as a dataset.

    Args:
        count: MODEL.ROI_HEADS.NUM_CLASSES.
        name: registered dataset; loaded if its classes are not known yet.

    Raises:
        InputError: the numbers differ; or see `load_coco`.
    """
    require_same_classes([name])
    found = MetadataCatalog.get(name).thing_classes
    if len(found) != count:
        raise InputError(
            f"{name} has {counted(len(found), 'class')} ({first(found, 20)}), the model {count}: set "
            f"MODEL.ROI_HEADS.NUM_CLASSES to {len(found)} for training; a trained model needs a dataset of its own "
            "classes"
        )


def require_classes_of_model(model: Sequence[str], name: str) -> None:
    """Check that a dataset has a model's classes in the same order; warn if only the names differ.

    Args:
        model: names of the model's classes, from its checkpoint.
        name: registered dataset; loaded if its classes are not known yet.

    Raises:
        InputError: their order or number differs; or see `load_coco`.
    """
    require_class_count(len(model), name)
    found = list(MetadataCatalog.get(name).thing_classes)
    ours, theirs = ([plain_name(c) for c in classes] for classes in (model, found))
    if ours == theirs:
        return
    difference = f"{name} has the classes {first(found, 20)}, the model was trained on {first(model, 20)}"
    if sorted(ours) == sorted(theirs):
        raise InputError(
            f"{difference}: the same in another order; the fourth element of an entry of DATASETS.COCO sets it"
        )
    _logger.warning(f"{difference}: they are matched by position")


def _is_entry(entry) -> bool:
    return (
        isinstance(entry, (list, tuple))
        and len(entry) in (3, 4)
        and all(isinstance(e, str) for e in entry[:3])
        and all(isinstance(e, (list, tuple)) and all(isinstance(c, str) for c in e) for e in entry[3:])
    )


def load_coco(
    annotations: Path, image_root: Path, classes: Sequence[str] | None = None, strict: bool = True
) -> tuple[list[dict], list[str], list[int]]:
    """Read and check a COCO JSON file, and convert it to Detectron2's dataset dicts.

    Category ids may have gaps; they are mapped to 0, 1, 2 ... in increasing order, or in the order of `classes`.
    Annotations whose box or mask has no area are left out, with one warning. Images without annotations are kept. As an
    extension of COCO, an image may have "sem_seg_file_name": its label map, for the semantic branch of a model.

    Args:
        annotations: the JSON file.
        image_root: folder of the images and label maps.
        classes: names of the categories to use, see `read_coco`; annotations of others are left out. None: all.
        strict: raise for bad images and annotations; otherwise leave them out, with one warning, as well as images that
            cannot be decoded, which are not checked in strict mode.

    Returns:
        Detectron2's dataset dicts in order of image id, the class names, the category ids of the classes.

    Raises:
        InputError: the file is malformed; the message gives the number of bad entries and the first of them.
        OSError: the file is missing or cannot be read.
    """
    annotations, image_root = Path(annotations), Path(image_root)
    check = FileCheck(annotations, strict, SKIP_HINT_IN_CONFIG)
    try:
        content = read_coco(annotations, image_root, classes, check)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} (INSIGHT_DATA names the folder of the built-in datasets)") from error
    if not strict:
        content = without_undecodable(content, image_root, check)
    if check.problems:
        _logger.warning(check.summary())
    if not content["images"]:
        raise InputError(f"{annotations}: no usable image")
    names, ids = ([c[key] for c in content["categories"]] for key in ("name", "id"))
    index = {category: i for i, category in enumerate(ids)}
    sizes = {i["id"]: (i["height"], i["width"]) for i in content["images"]}
    objects = defaultdict(list)
    for annotation in content["annotations"]:
        objects[annotation["image_id"]].append(_convert(annotation, index, sizes[annotation["image_id"]]))
    dicts = [
        {
            "file_name": str(image_root / i["file_name"]),
            "image_id": i["id"],
            "height": i["height"],
            "width": i["width"],
            "annotations": objects[i["id"]],
            **({"sem_seg_file_name": str(image_root / i["sem_seg_file_name"])} if "sem_seg_file_name" in i else {}),
        }
        for i in content["images"]
    ]
    return dicts, names, ids


def _convert(annotation: dict, index: dict[int, int], size: tuple[int, int]) -> dict:
    """A COCO annotation as Detectron2 expects it."""
    result = {
        "bbox": annotation["bbox"],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": index[annotation["category_id"]],
        "iscrowd": annotation.get("iscrowd", 0),
    }
    if "oriented_box" in annotation:
        result["oriented_box"] = annotation["oriented_box"]
    mask = annotation.get("segmentation")
    if isinstance(mask, dict):
        result["segmentation"] = segmentation_to_rle(mask, size)
    elif mask:
        result["segmentation"] = mask
    return result
