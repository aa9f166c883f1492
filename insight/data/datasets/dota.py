"""DOTA: optical images with oriented boxes (Xia et al. 2018; classes of all versions)."""

from .oriented import register_oriented
from .root import data_root

CLASSES = (
    "plane",
    "ship",
    "storage-tank",
    "baseball-diamond",
    "tennis-court",
    "basketball-court",
    "ground-track-field",
    "harbor",
    "bridge",
    "large-vehicle",
    "small-vehicle",
    "helicopter",
    "roundabout",
    "soccer-ball-field",
    "swimming-pool",
    "container-crane",  # since 1.5
    "airport",  # since 2.0
    "helipad",
)


def register() -> None:
    """Register dota_train and dota_val, from dota/{train,val}/ in the data root, images/ and labelTxt/ in each."""
    for split in ("train", "val"):
        register_oriented(f"dota_{split}", data_root() / "dota" / split, CLASSES)
