"""iSAID: optical images of DOTA with instance masks, 15 classes (Waqas Zamir et al. 2019)."""

from insight.data.preparation.painted import ISAID

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
    """Register the datasets, from isaid/ and isaid_tiles/ in the data root.

    isaid_train, isaid_val and isaid_test (without annotations): patches of 800 x 800, made by `insight data prepare
    isaid`. isaid_tiles_train (1,400 tiles of 512 x 512) and isaid_tiles_val (200). isaid_small_train and so on are the
    same with the annotations of SMALL_CLASSES only.
    """
    for family, splits in (("isaid", ("train", "val", "test")), ("isaid_tiles", ("train", "val"))):
        folder = data_root() / family
        for name, classes in ((family, CLASSES), (f"{family}_small", SMALL_CLASSES)):
            for split in splits:
                register_coco(f"{name}_{split}", folder / f"instances_{split}.json", folder / split, classes=classes)
