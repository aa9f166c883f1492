"""HRSID: SAR images of 800 x 800 pixels with ship masks (Wei et al. 2020)."""

from insight.data.preparation.painted import HRSID

from .coco import register_coco
from .root import data_root


def register() -> None:
    """Register the datasets, from hrsid/ and hrsid_painted/ in the data root.

    hrsid_train (3,642 images) and hrsid_test (1,962): the release with COCO files. hrsid_painted: what
    `insight data prepare hrsid` makes of the painted instances.
    """
    painted = data_root() / "hrsid_painted"
    register_coco("hrsid_painted", painted / "instances_all.json", painted / "all", classes=HRSID.classes)
    folder = data_root() / "hrsid"
    for split in ("train", "test"):
        annotations = folder / "annotations" / f"{split}2017.json"
        register_coco(f"hrsid_{split}", annotations, folder / "JPEGImages", classes=HRSID.classes)
