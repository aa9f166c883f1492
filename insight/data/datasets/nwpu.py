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


def register() -> None:
    """Register nwpu_vhr10_train (520 images) and nwpu_vhr10_val (130), from nwpu_vhr10/ in the data root."""
    folder = data_root() / "nwpu_vhr10"
    for split in ("train", "val"):
        annotations = folder / "annotations" / f"instances_{split}.json"
        register_coco(f"nwpu_vhr10_{split}", annotations, folder / "images", classes=CLASSES)
