"""Checking datasets file by file for what is missing or wrong."""

from dataclasses import dataclass, field
from pathlib import Path

from detectron2.data import MetadataCatalog

from insight.data.datasets import require_registered
from insight.data.formats import coco as coco_file
from insight.data.formats import oriented
from insight.data.formats.decoding import UNDECODABLE, undecodable, without_undecodable
from insight.data.formats.file_check import FileCheck, first, repeated
from insight.data.formats.images import SUFFIXES
from insight.data.formats.label_maps import unusable_label_maps
from insight.errors import InputError, InsightError
from insight.runtime.folders import files_under
from insight.runtime.words import counted

_NOTES = (coco_file.WITHOUT_AREA, coco_file.SHORT_RINGS, coco_file.ROOT_CATEGORY, oriented.WITHOUT_AREA)


@dataclass
class Findings:
    """Findings of a check, each a line that names the file.

    Args:
        fatal: problems that stop training and evaluation.
        wrong: problems that stop them unless DATASETS.BAD is skip, which leaves the bad entries out.
        notes: entries that are always left out or unused.
        images: number of usable images.
        objects: number of usable objects.
    """

    fatal: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images: int = 0
    objects: int = 0


def check_dataset(name: str) -> Findings:
    """Check a whole dataset. Every image is decoded, in several processes.

    Args:
        name: registered dataset, of a COCO file or of a folder of oriented boxes.

    Returns:
        The findings.

    Raises:
        InputError: the dataset is unknown, or neither a COCO file nor a folder of oriented boxes.
    """
    require_registered([name], "name")
    metadata = MetadataCatalog.get(name)
    if metadata.get("json_file") is not None:
        prepare = metadata.get("prepare")
        if prepare is not None:
            prepare()
        return _check_coco(Path(metadata.json_file), Path(metadata.image_root), metadata.get("thing_classes"))
    if metadata.get("oriented_folder") is not None:
        return _check_oriented(Path(metadata.oriented_folder), metadata.split, metadata.thing_classes)
    raise InputError(f"{name}: only datasets of COCO files and of oriented boxes can be checked")


def _check_coco(annotations: Path, image_root: Path, classes: list[str] | None) -> Findings:
    found = Findings()
    if not image_root.is_dir():
        found.fatal.append(f"{image_root}: no such folder, expected the images")
    check = FileCheck(annotations, strict=False)
    try:
        content = coco_file.read_coco(annotations, image_root if image_root.is_dir() else None, classes, check)
    except (OSError, InsightError) as error:
        found.fatal.append(str(error))
        content = None
    if content is None or not image_root.is_dir():
        _report(check, found)
        return found
    listed = {image_root / i[key] for i in content["images"] for key in ("file_name", "sem_seg_file_name") if key in i}
    content = without_undecodable(content, image_root, check)
    maps = [
        (image_root / i["sem_seg_file_name"], (i["height"], i["width"]))
        for i in content["images"]
        if "sem_seg_file_name" in i
    ]
    if maps:
        check.note("label maps cannot be used", unusable_label_maps(maps).values())
    _report(check, found)
    found.images, found.objects = len(content["images"]), len(content["annotations"])
    _require_images(annotations, found)
    shared = repeated(i["file_name"] for i in content["images"])
    if shared:
        found.notes.append(
            f"{annotations}: {counted(len(shared), 'image')} with the file of an earlier one ({first(shared)}): to "
            "each, what the other lists is background"
        )
    unused = [path.relative_to(image_root) for path in files_under(image_root, SUFFIXES) if path not in listed]
    if unused:  # as a rule those of another split
        found.notes.append(f"{image_root}: {counted(len(unused), 'image')} not in {annotations.name}: {first(unused)}")
    return found


def _check_oriented(folder: Path, split: str, classes: list[str]) -> Findings:
    found = Findings()
    check = FileCheck(folder, strict=False)
    try:
        entries = list(oriented.read_folder(folder, classes, split, check))
    except (OSError, InsightError) as error:
        found.fatal.append(str(error))
        entries = []
    wrong = undecodable({image: size for image, size, _ in entries})
    check.note(UNDECODABLE, wrong.values())
    _report(check, found)
    usable = [labels for image, _, labels in entries if image not in wrong]
    found.images, found.objects = len(usable), sum(map(len, usable))
    _require_images(folder, found)
    return found


def _require_images(path: Path, found: Findings) -> None:
    if not found.images and not found.fatal:  # otherwise the cause is listed
        found.fatal.append(f"{path}: no usable image")


def _report(check: FileCheck, found: Findings) -> None:
    for reason, offenders in check.problems.items():
        lines, fate = (found.notes, "left out ") if reason in _NOTES else (found.wrong, "")
        lines += [f"{check.path}: {reason}: {fate}{offender!s:.400}" for offender in offenders]
