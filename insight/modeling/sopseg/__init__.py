"""SOPSeg: segmentation of small objects from prompts. Needs no Detectron2."""

from .branch import SOPSegBranch
from .checkpoint import load_sopseg
from .crops import cut_crops
from .decoders import DECODERS, MaskPrediction
from .encoders import ENCODERS, ImageFeatures
from .image_masks import ImageMasks, image_masks
from .loss import sopseg_loss
from .model import PIXEL_MEAN, PIXEL_STD, SOPSeg, build_sopseg
from .segment import EncodedCrops, SegmentedObjects, encode_regions, segment_objects

__all__ = [
    "DECODERS",
    "ENCODERS",
    "PIXEL_MEAN",
    "PIXEL_STD",
    "EncodedCrops",
    "ImageFeatures",
    "ImageMasks",
    "MaskPrediction",
    "SOPSeg",
    "SOPSegBranch",
    "SegmentedObjects",
    "build_sopseg",
    "cut_crops",
    "encode_regions",
    "image_masks",
    "load_sopseg",
    "segment_objects",
    "sopseg_loss",
]
