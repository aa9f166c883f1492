"""SSDD: 1,160 SAR images with ship masks (Zhang et al. 2021; the release with polygons, coco_style)."""

from .coco import register_coco
from .root import data_root

CLASSES = ("ship",)


def register() -> None:
    """Register ssdd_train (928 images) and ssdd_test (232), from ssdd/ in the data root."""
    folder = data_root() / "ssdd"
    for split in ("train", "test"):
        annotations = folder / "annotations" / f"{split}.json"
        register_coco(f"ssdd_{split}", annotations, folder / "images" / split, classes=CLASSES)
