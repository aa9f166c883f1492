"""SOPSeg: small objects from prompts. Needs no Detectron2."""

from .checkpoint import load_sopseg
from .decoders import DECODERS, MaskPrediction
from .encoders import ENCODERS, ImageFeatures
from .loss import sopseg_loss
from .model import PIXEL_MEAN, PIXEL_STD, SOPSeg, build_sopseg
from .segment import SegmentedObjects, segment_objects

__all__ = [
    "DECODERS",
    "ENCODERS",
    "PIXEL_MEAN",
    "PIXEL_STD",
    "ImageFeatures",
    "MaskPrediction",
    "SOPSeg",
    "SegmentedObjects",
    "build_sopseg",
    "load_sopseg",
    "segment_objects",
    "sopseg_loss",
]
