"""SODA-A: optical images with oriented boxes of small objects (Cheng et al. 2023)."""

from .oriented import register_oriented
from .root import data_root

CLASSES = (
    "airplane",
    "helicopter",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "container",
    "storage-tank",
    "swimming-pool",
    "windmill",
)


def register() -> None:
    """Register soda_a_train, soda_a_val and soda_a_test, from soda_a/ in the data root.

    It holds Images/ and Annotations/{train,val,test}/.
    """
    for split in ("train", "val", "test"):
        register_oriented(f"soda_a_{split}", data_root() / "soda_a", CLASSES, split)
