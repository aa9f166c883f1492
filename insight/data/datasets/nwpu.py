"""NWPU VHR-10: 650 optical images, 10 classes (Cheng et al. 2014; instance masks of RSPrompter's copy)."""

from .coco import register_coco
from .root import data_root

CLASSES = (
    "airplane",
    "ship",
    "storage_tank",
    "baseball_diamond",
    "tennis_court",
    "basketball_court",
    "ground_track_field",
    "harbor",
    "bridge",
    "vehicle",
)
SMALL_CLASSES = ("ship", "airplane", "vehicle", "storage_tank")  # those on which SOPSeg is tested


def register() -> None:
    """Register the datasets, from nwpu_vhr10/ in the data root.

    nwpu_vhr10_train (520 images) and nwpu_vhr10_val (130); nwpu_vhr10_small_train and nwpu_vhr10_small_val are the same
    with the annotations of SMALL_CLASSES only.
    """
    folder = data_root() / "nwpu_vhr10"
    for split in ("train", "val"):
        annotations = folder / "annotations" / f"instances_{split}.json"
        for name, classes in (("nwpu_vhr10", CLASSES), ("nwpu_vhr10_small", SMALL_CLASSES)):
            register_coco(f"{name}_{split}", annotations, folder / "images", classes=classes)
