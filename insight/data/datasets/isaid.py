"""iSAID: optical images of DOTA with instance masks, 15 classes (Waqas Zamir et al. 2019)."""

from ..preparation.painted import ISAID
from .coco import register_coco
from .root import data_root

CLASSES = ISAID.classes
SMALL_CLASSES = (  # those on which SOPSeg is trained and tested
    "ship",
    "plane",
    "helicopter",
    "small_vehicle",
    "large_vehicle",
    "storage_tank",
    "swimming_pool",
)


def register() -> None:
    """Register the data sets, from isaid_tiles/ in the data root.

    isaid_tiles_train (1,400 tiles of 512 x 512) and isaid_tiles_val (200); isaid_tiles_small_train and
    isaid_tiles_small_val are the same with the annotations of SMALL_CLASSES only.
    """
    folder = data_root() / "isaid_tiles"
    for split in ("train", "val"):
        for name, classes in (("isaid_tiles", CLASSES), ("isaid_tiles_small", SMALL_CLASSES)):
            register_coco(f"{name}_{split}", folder / f"instances_{split}.json", folder / split, classes=classes)
