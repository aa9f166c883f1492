"""SAT-MTB: frames of satellite videos with masks of aircraft, ships and trains (Li et al. 2023)."""

from insight.data.preparation.sat_mtb import CLASSES

from .coco import register_coco
from .root import data_root

SMALL_CLASSES = ("ship", "airplane")  # those on which SOPSeg is tested


def register() -> None:
    """Register sat_mtb, and sat_mtb_small with the annotations of SMALL_CLASSES only, from sat_mtb/ in the root."""
    folder = data_root() / "sat_mtb"
    for name, classes in (("sat_mtb", CLASSES), ("sat_mtb_small", SMALL_CLASSES)):
        register_coco(name, folder / "instances.json", folder, classes=classes)
