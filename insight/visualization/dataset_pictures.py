"""Pictures of a dataset's ground truth."""

import math
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import convert_image_to_rgb
from detectron2.structures import BitMasks, polygons_to_bitmask

from insight.data.datasets import require_registered
from insight.data.entries import ground_truth_boxes, read_entry_image
from insight.data.formats.images import write_png
from insight.data.mappers.detection import PromptDatasetMapper
from insight.errors import InputError
from insight.runtime.file_names import safe_name
from insight.runtime.progress import progress

from .overlays import draw_instances

_LARGEST = 2**28  # pixels of an enlarged picture


def draw_dataset(
    cfg: CfgNode,
    name: str,
    output: Path,
    *,
    count: int = 20,
    augmented: bool = False,
    seed: int = 0,
    scale: int = 0,
) -> list[Path]:
    """Draw images of a dataset with their ground truth.

    Args:
        cfg: the config; its INPUT keys define the augmentations.
        name: registered dataset.
        output: folder for the PNG files.
        count: number of images, chosen at random; 0 for all, in order.
        augmented: draw training samples, augmented, resized and in INPUT.FORMAT, instead of the files.
        seed: seed of the choice and of the augmentations.
        scale: as in `draw_instances`.

    Returns:
        The files.

    Raises:
        InputError: the dataset is unknown or empty, `count`, `scale` or `seed` is negative, or a picture would be too
            large.
    """
    if count < 0:
        raise InputError(f"count: expected at least 0 (0 for all images), got {count}")
    if scale < 0:
        raise InputError(f"scale: expected at least 0 (0 to choose one), got {scale}")
    if seed < 0:
        raise InputError(f"seed: expected at least 0, got {seed}")
    require_registered([name], "name")
    dicts = DatasetCatalog.get(name)
    if not dicts:
        raise InputError(f"dataset {name}: expected at least one image, got none")
    chosen = np.arange(len(dicts))
    if 0 < count < len(dicts):
        chosen = np.sort(np.random.default_rng(seed).choice(len(dicts), count, replace=False))
    mapper = PromptDatasetMapper(cfg, is_train=True) if augmented else None
    names = MetadataCatalog.get(name).thing_classes
    paths = []
    for index in progress(chosen, f"Drawing {name}", "image"):
        entry = dicts[index]
        if mapper is not None:
            image, masks, boxes, classes = _sample(
                mapper({**entry, "sample_seed": seed + int(index)}), cfg.INPUT.FORMAT
            )
        else:
            image, masks, boxes, classes = _source(entry)
        height, width = image.shape[:2]
        if scale > 1 and height * width * scale**2 > _LARGEST:
            raise InputError(
                f"scale: {scale} times {entry['file_name']}, which has {width} x {height} pixels, is too large for a "
                f"picture; up to {max(1, math.isqrt(_LARGEST // (height * width)))} will do"
            )
        # Boxes only where there are no masks.
        picture = draw_instances(
            image, masks, None if masks is not None else boxes, [names[c] for c in classes], classes, scale=scale
        )
        paths.append(output / picture_name(entry, index))
        write_png(paths[-1], picture)
    return paths


def picture_name(entry: dict, position: int) -> str:
    """Return a file name for the picture of an image, unique in the dataset even if images share names.

    Args:
        entry: dataset dict of the image.
        position: position of the entry in the dataset, from 0.

    Returns:
        POSITION_STEM.png.
    """
    return safe_name(f"{position:06d}_{Path(entry['file_name']).stem}", ".png")


def _source(entry: dict) -> tuple[np.ndarray, list | None, np.ndarray, list[int]]:
    """Image, masks, boxes and classes of a dataset dict."""
    image = read_entry_image(entry, "RGB")
    annotations = entry.get("annotations", [])
    masks = None
    if annotations and all("segmentation" in a for a in annotations):
        masks = [
            a["segmentation"]
            if isinstance(a["segmentation"], dict)
            else polygons_to_bitmask([np.asarray(p, float) for p in a["segmentation"]], *image.shape[:2])
            for a in annotations
        ]
    return image, masks, ground_truth_boxes(annotations), [a["category_id"] for a in annotations]


def _sample(sample: dict, image_format: str) -> tuple[np.ndarray, list | None, np.ndarray, list[int]]:
    """Image, masks, boxes and classes of a training sample."""
    image = convert_image_to_rgb(sample["image"].permute(1, 2, 0), image_format)
    instances = sample["instances"]
    masks = None
    if instances.has("gt_masks"):
        masks = instances.gt_masks
        if not isinstance(masks, BitMasks):
            size = instances.image_size
            masks = [polygons_to_bitmask(polygons, *size) for polygons in masks]
        else:
            masks = masks.tensor.numpy()
    return np.ascontiguousarray(image), masks, instances.gt_boxes.tensor.numpy(), instances.gt_classes.tolist()
