"""Preparation of iSAID and HRSID, whose instances are painted into separate pictures."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from insight.data.formats.file_check import SKIP_HINT, first
from insight.data.formats.images import encode_png, read_image
from insight.errors import InputError
from insight.runtime.folders import files_under, walk

from .instance_maps import Painting, cut_annotations, read_instance_map
from .patches import patch_windows
from .resumable import Source, build_coco, natural_order

ISAID = Painting(
    classes=(
        "ship",
        "storage_tank",
        "baseball_diamond",
        "tennis_court",
        "basketball_court",
        "ground_track_field",
        "bridge",
        "large_vehicle",
        "small_vehicle",
        "helicopter",
        "swimming_pool",
        "roundabout",
        "soccer_ball_field",
        "plane",
        "harbor",
    ),
    colours=(
        (0, 0, 63),
        (0, 63, 63),
        (0, 63, 0),
        (0, 63, 127),
        (0, 63, 191),
        (0, 63, 255),
        (0, 127, 63),
        (0, 127, 127),
        (0, 0, 127),
        (0, 0, 191),
        (0, 0, 255),
        (0, 191, 127),
        (0, 127, 191),
        (0, 127, 255),
        (0, 100, 155),
    ),
    first_id=1000,
)
HRSID = Painting(classes=("ship",), colours=((128, 0, 0),))
# The development kit leaves these two images out.
_ISAID_LEFT_OUT = ("P1527", "P1530")
_LABELS = "labels"  # folder of the label maps, beside the images
_ID, _CLASS = "_instance_id_RGB", "_instance_color_RGB"

_logger = logging.getLogger(__name__)


def prepare_isaid(
    folder: Path, output: Path, *, size: int = 800, overlap: int = 200, skip_bad: bool = False
) -> dict[str, dict[str, int]]:
    """Cut iSAID into patches, as its development kit does, and write their instances as COCO files.

    Args:
        folder: holds one or more of train/, val/ and test/, each with NAME.png, in sub-folders or not, and, except in
            test/, NAME_instance_id_RGB.png and NAME_instance_color_RGB.png.
        output: folder for instances_SPLIT.json, SPLIT/NAME_Y0_Y1_X0_X1.png and the label maps
            SPLIT/labels/NAME_Y0_Y1_X0_X1.png, in which 15 is background. A stopped run resumes; a second run does
            nothing.
        size: side of a patch, pixels.
        overlap: overlap of neighbouring patches, pixels.
        skip_bad: leave out images that cannot be used, with one warning, instead of raising.

    Returns:
        By split, the numbers of images and annotations written, and of entries left out.

    Raises:
        OSError, InputError: a folder or file is missing or cannot be used, or the output lies inside the input.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    splits = [split for split in ("train", "val", "test") if (folder / split).is_dir()]
    if not splits:
        raise InputError(f"{folder}: expected train/, val/ or test/ with images, as in docs/data.md")
    _refuse_among_input(output, splits, [folder / split for split in splits])
    found = {
        split: _find(folder / split, masks=split != "test", leave_out=_ISAID_LEFT_OUT, skip_bad=skip_bad)
        for split in splits
    }
    return {
        split: _prepare(output, split, sources, ISAID, size, overlap, skip_bad) | left_out
        for split, (sources, left_out) in found.items()
    }


def prepare_hrsid(folder: Path, output: Path, *, skip_bad: bool = False) -> dict[str, dict[str, int]]:
    """Write HRSID's painted ships as a COCO file; the images stay whole.

    Args:
        folder: holds NAME.png, NAME_instance_id_RGB.png and NAME_instance_color_RGB.png.
        output: folder for instances_all.json and all/NAME.png. A stopped run resumes; a second run does nothing.
        skip_bad: leave out images that cannot be used, with one warning, instead of raising.

    Returns:
        {"all": numbers of images and annotations written, and of entries left out}.

    Raises:
        OSError, InputError: a folder or file is missing or cannot be used, or the output lies inside the input.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    _refuse_among_input(output, ["all"], [folder])
    sources, left_out = _find(folder, masks=True, skip_bad=skip_bad)
    return {"all": _prepare(output, "all", sources, HRSID, None, 0, skip_bad) | left_out}


def _refuse_among_input(output: Path, splits: Sequence[str], folders: Sequence[Path]) -> None:
    """Raise if what is written for the splits would lie where `_find` looks: the next run would take it for input."""
    walked = {path.resolve() for folder in folders for path, _ in walk(folder)}
    for target in (output / split / part for split in splits for part in ("", _LABELS)):
        if not walked.isdisjoint([target.resolve(), *target.resolve().parents]):
            raise InputError(
                f"{output}: expected a folder outside the input, but {target} would be written among the files "
                f"read from the input ({', '.join(map(str, folders))}); choose another output"
            )


def _find(
    folder: Path, *, masks: bool, leave_out: Sequence[str] = (), skip_bad: bool
) -> tuple[list[Source], dict[str, int]]:
    """The images in a folder, each with its two pictures, in natural order; how many files were left out, by reason."""
    files: dict[str, Path] = {}
    for path in files_under(folder, (".png",)):
        if path.stem in files:
            raise InputError(f"{folder}: two files are named {path.name}: {files[path.stem]} and {path}")
        files[path.stem] = path
    every = {name for name in files if not name.endswith((_ID, _CLASS))}
    names = sorted(every.difference(leave_out), key=natural_order)
    if not names:
        raise InputError(f"{folder}: no images (NAME.png)")
    left_out = {}
    if masks:
        wanted = [name + suffix for name in names for suffix in (_ID, _CLASS)]
        lost = [name for name in files if name.endswith(_ID) and name.removesuffix(_ID) not in every]
        _complain(
            folder,
            [f"{name}.png" for name in wanted if name not in files],
            "pictures of instances are missing",
            skip_bad,
        )
        _complain(folder, [f"{name}.png" for name in lost], "pictures of instances have no image", skip_bad)
        whole = [name for name in names if name + _ID in files and name + _CLASS in files]
        if not whole:
            raise InputError(
                f"{folder}: none of {len(names)} images has its two pictures, NAME{_ID}.png and NAME{_CLASS}.png: "
                f"{first(names)}"
            )
        left_out = {"images without their pictures": len(names) - len(whole), "pictures without image": len(lost)}
        names = whole
    sources = [
        Source(name, (files[name], files[name + _ID], files[name + _CLASS]) if masks else (files[name],))
        for name in names
    ]
    return sources, {reason: count for reason, count in left_out.items() if count}


def _complain(folder: Path, offenders: list[str], reason: str, skip_bad: bool) -> None:
    if not offenders:
        return
    message = f"{folder}: {len(offenders)} {reason}: {first(offenders)}"
    for offender in offenders:
        _logger.warning(f"{folder}: {reason}: {offender}")
    if not skip_bad:
        raise InputError(f"{message}; {SKIP_HINT}")
    _logger.warning(f"{message}; left out")


def _prepare(
    output: Path,
    split: str,
    sources: Sequence[Source],
    painting: Painting,
    size: int | None,
    overlap: int,
    skip_bad: bool,
) -> dict[str, int]:
    return build_coco(
        output / f"instances_{split}.json",
        output / split,
        sources,
        partial(_convert, painting, size, overlap),
        painting.classes,
        settings={"painting": asdict(painting), "size": size, "overlap": overlap, "labels": _LABELS},
        skip_bad=skip_bad,
    )


def _convert(painting: Painting, size: int | None, overlap: int, source: Source) -> dict:
    """Cut one image and its instances; the patches and their label maps are encoded when they are written."""
    image = read_image(source.files[0])
    height, width = image.shape[:2]
    instances = None
    if len(source.files) > 1:
        instances = read_instance_map(*source.files[1:], painting)
        if instances.labels.shape != (height, width):
            h, w = instances.labels.shape
            raise InputError(f"{source.files[1]}: is {w} x {h} pixels, its image {width} x {height}")
        class_map = instances.class_map(background=len(painting.classes))
    files: dict[str, Callable[[], bytes]] = {}
    images, annotations, small = [], [], 0
    for window in [(0, height, 0, width)] if size is None else patch_windows(height, width, size, overlap):
        y0, y1, x0, x1 = window
        if window == (0, height, 0, width):
            name = f"{source.name}.png"
            files[name] = partial(bytes, source.files[0].read_bytes())
        else:
            name = f"{source.name}_{y0}_{y1}_{x0}_{x1}.png"
            files[name] = partial(encode_png, image[y0:y1, x0:x1])
        entry = {"file_name": name, "height": y1 - y0, "width": x1 - x0}
        if instances is not None:
            entry["sem_seg_file_name"] = f"{_LABELS}/{name}"
            files[entry["sem_seg_file_name"]] = partial(encode_png, class_map[y0:y1, x0:x1])
        images.append(entry)
        cut, left_out = cut_annotations(instances, window) if instances is not None else ([], 0)
        annotations.append(cut)
        small += left_out
    left_out = {"pieces too small": small, "instances without class": instances.unlabelled if instances else 0}
    left_out = {reason: count for reason, count in left_out.items() if count}
    return {"images": images, "annotations": annotations, "left_out": left_out, "files": files}
