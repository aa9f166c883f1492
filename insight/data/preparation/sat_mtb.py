"""SAT-MTB: frames of satellite videos with polygons in one JSON file per frame."""

import logging
from functools import partial
from pathlib import Path

from insight.data.formats.file_check import SKIP_HINT, FileCheck, first, read_json
from insight.data.formats.images import image_size
from insight.errors import InputError
from insight.runtime.folders import files_under
from insight.structures.boxes import touches_image
from insight.structures.rle import rle_area, rle_box, segmentation_to_rle

from .resumable import Source, build_coco, natural_order

CLASSES = ("airplane", "ship", "train")

_logger = logging.getLogger(__name__)


def prepare_sat_mtb(folder: Path, *, skip_bad: bool = False) -> dict[str, dict[str, int]]:
    """Join the instance masks of all frames in one COCO file beside them.

    Args:
        folder: SAT-MTB as unpacked: airplane/, ship/ and train/ with a folder per video, which holds img/NAME.png and
            seg/NAME.json. Classes and videos without seg/ are left out; a warning names them, except for cars.
        skip_bad: leave out frames that cannot be used or have no JSON file where others of their video do, and masks
            outside their image, with warnings, instead of raising.

    Returns:
        {"all": numbers of images and annotations written, and of entries left out}.

    Raises:
        OSError, InputError: a folder or file is missing or cannot be used.

    Source: the layout is taken from public readers of SAT-MTB, as its publishers do not document it. According to one
    of them, some videos of trains have no masks.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    labels = _files(folder, "seg", ".json")
    if not labels:
        raise InputError(f"{folder}: expected VIDEO/img/NAME.png and VIDEO/seg/NAME.json in {', '.join(CLASSES)}")
    without = _frames_without_label(folder, labels, skip_bad)
    sources = [
        Source(
            (_video(label).relative_to(folder) / label.stem).as_posix(),
            (_video(label) / "img" / f"{label.stem}.png", label),
        )
        for label in labels
    ]
    convert = partial(_convert, folder, skip_bad)
    output = folder / "instances.json"
    settings = {"skip_bad": skip_bad}
    counts = build_coco(output, folder, sources, convert, CLASSES, settings=settings, skip_bad=skip_bad)
    return {"all": counts | ({"frames without seg/NAME.json": without} if without else {})}


def _files(folder: Path, part: str, suffix: str) -> list[Path]:
    """The files in CLASS/VIDEO/part/, in natural order."""
    found = [file for name in CLASSES for file in files_under(folder / name, (suffix,)) if file.parent.name == part]
    return sorted(found, key=lambda file: natural_order(str(file)))


def _video(file: Path) -> Path:
    """The folder of the video that a file in its img/ or seg/ belongs to."""
    return file.parent.parent


def _frames_without_label(folder: Path, labels: list[Path], skip_bad: bool) -> int:
    """How many frames of videos with labels have none: an error unless they are skipped."""
    labelled = {(_video(label), label.stem) for label in labels}
    videos = {video for video, _ in labelled}
    classes = {video.relative_to(folder).parts[0] for video in videos}
    absent = [name for name in CLASSES if name not in classes]
    if absent:  # perhaps only some classes were downloaded
        _logger.warning(
            f"{folder}: {len(absent)} of {len(CLASSES)} classes have no VIDEO/seg/NAME.json and are left out: "
            f"{first(absent)}"
        )
    frames = _files(folder, "img", ".png")
    bare = dict.fromkeys(_video(frame).relative_to(folder) for frame in frames if _video(frame) not in videos)
    if bare:  # perhaps they are of those without masks
        _logger.warning(f"{folder}: {len(bare)} videos have no seg/NAME.json and are left out: {first(bare)}")
    frames = [frame for frame in frames if _video(frame) in videos]
    check = FileCheck(folder, not skip_bad, SKIP_HINT)
    kept = check.keep(
        frames, lambda frame: (_video(frame), frame.stem) in labelled, "frames in img/ need their seg/NAME.json",
        lambda frame: frame.relative_to(folder),
    )  # fmt: skip
    if check.problems:
        _logger.warning(check.summary())
    return len(frames) - len(kept)


def _convert(folder: Path, skip_bad: bool, source: Source) -> dict:
    """One frame. The class is the file's supercategory, or else the folder that the video lies in."""
    image, label = source.files
    height, width = image_size(image)
    path = image.relative_to(folder)
    content = read_json(label)
    try:
        if not all(isinstance(content[section], list) for section in ("categories", "annotations")):
            raise TypeError("categories and annotations are lists")
        coarse = {c["id"]: c.get("supercategory") for c in content["categories"]}
        objects = [(coarse[a["category_id"]], a["segmentation"]) for a in content["annotations"]]
        annotations = [_annotation(name, polygons, path, height, width) for name, polygons in objects]
        ids = [a.get("id", f"number {i}") for i, a in enumerate(content["annotations"])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{label}: expected the COCO annotations of one frame, with polygons ({error!r})") from error
    check = FileCheck(label, not skip_bad, SKIP_HINT)
    inside = check.keep(
        range(len(annotations)), lambda i: _touches(annotations[i]["segmentation"], (height, width)),
        f"masks lie outside their image, which is {width} x {height} pixels", lambda i: f"annotation {ids[i]}",
    )  # fmt: skip
    kept = [annotations[i] for i in inside if annotations[i]["area"]]
    empty = len(inside) - len(kept)
    outside = [f"{label.relative_to(folder)}: {name}" for names in check.problems.values() for name in names]
    return {
        "images": [{"file_name": path.as_posix(), "height": height, "width": width}],
        "annotations": [kept],
        "left_out": {"masks without area": empty} if empty else {},
        "wrong": {"masks outside their image": outside} if outside else {},
    }


def _touches(polygons: list[list[float]], size: tuple[int, int]) -> bool:
    """Whether the polygons, if there are any, are at least in part inside the image."""
    xs, ys = ([v for polygon in polygons for v in polygon[start::2]] for start in (0, 1))
    return not xs or touches_image((min(xs), min(ys), max(xs), max(ys)), size)


def _annotation(name: str | None, polygons: list, path: Path, height: int, width: int) -> dict:
    # The files' own boxes are not COCO's: x1, y1, x2, y2.
    polygons = [[float(v) for v in polygon] for polygon in polygons if len(polygon) >= 6]
    mask = segmentation_to_rle(polygons, (height, width)) if polygons else None
    return {
        "category_id": CLASSES.index(name if name in CLASSES else path.parts[0]) + 1,
        "bbox": [float(v) for v in rle_box(mask)] if mask else [0, 0, 0, 0],
        "area": rle_area(mask) if mask else 0,
        "segmentation": polygons,
        "iscrowd": 0,
    }
