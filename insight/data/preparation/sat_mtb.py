"""SAT-MTB: frames of satellite videos with polygons in one JSON file a frame."""

from functools import partial
from pathlib import Path

from pycocotools import mask as coco_mask

from ..file_check import read_json
from ..folders import files_under
from ..images import image_size
from .resumable import Source, build_coco, natural_order

CLASSES = ("airplane", "ship", "train")


def prepare_sat_mtb(folder: Path, *, skip_bad: bool = False) -> dict[str, dict[str, int]]:
    """Join the instance masks of all frames in one COCO file, which lies beside them.

    Args:
        folder: SAT-MTB as it unpacks: airplane/, ship/, train/, in each a folder a video, in each img/NAME.png and
            seg/NAME.json. Videos without seg/, as those of cars, are no part of this.
        skip_bad: leave out frames that cannot be used, with one warning, instead of raising.

    Returns:
        {"all": how many images and annotations were written and what was left out}.

    Raises:
        OSError, ValueError: a folder or file is missing or cannot be used.

    Source: the layout is that of public readers of SAT-MTB; its publishers describe none.
    """
    labels = [
        label for name in CLASSES for label in files_under(folder / name, (".json",)) if label.parent.name == "seg"
    ]
    if not labels:
        raise ValueError(f"{folder}: expected VIDEO/img/NAME.png and VIDEO/seg/NAME.json in {', '.join(CLASSES)}")
    labels.sort(key=lambda label: natural_order(str(label)))
    sources = [
        Source(
            "_".join([*label.parent.parent.relative_to(folder).parts, label.stem]),
            (label.parent.parent / "img" / f"{label.stem}.png", label),
        )
        for label in labels
    ]
    convert = partial(_convert, folder)
    output = folder / "instances.json"
    return {"all": build_coco(output, folder, sources, convert, CLASSES, settings={}, skip_bad=skip_bad)}


def _convert(folder: Path, source: Source) -> dict:
    """One frame. The class is the file's supercategory, or else the folder that the video lies in."""
    image, label = source.files
    height, width = image_size(image)
    path = image.relative_to(folder)
    try:
        content = read_json(label)
        coarse = {c["id"]: c.get("supercategory") for c in content["categories"]}
        objects = [(coarse[a["category_id"]], a["segmentation"]) for a in content["annotations"]]
        annotations = [_annotation(name, polygons, path, height, width) for name, polygons in objects]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{label}: expected the COCO annotations of one frame, with polygons ({error!r})") from error
    kept = [annotation for annotation in annotations if annotation["area"]]
    empty = len(annotations) - len(kept)
    return {
        "images": [{"file_name": path.as_posix(), "height": height, "width": width}],
        "annotations": [kept],
        "left_out": {"masks without area": empty} if empty else {},
    }


def _annotation(name: str | None, polygons: list, path: Path, height: int, width: int) -> dict:
    # The files' own boxes are not COCO's: x1, y1, x2, y2.
    polygons = [[float(v) for v in polygon] for polygon in polygons if len(polygon) >= 6]
    mask = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)) if polygons else None
    return {
        "category_id": CLASSES.index(name if name in CLASSES else path.parts[0]) + 1,
        "bbox": coco_mask.toBbox(mask).tolist() if mask else [0, 0, 0, 0],
        "area": int(coco_mask.area(mask)) if mask else 0,
        "segmentation": polygons,
        "iscrowd": 0,
    }
