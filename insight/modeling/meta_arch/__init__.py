"""Meta-architectures on Detectron2."""

from .prompt_rcnn import EncodedImages, PromptRCNN
from .sopseg import SOPSegMetaArch

__all__ = ["EncodedImages", "PromptRCNN", "SOPSegMetaArch"]
