"""Meta-architectures on Detectron2."""

from .prompt_rcnn import EncodedImages, PromptRCNN

__all__ = ["EncodedImages", "PromptRCNN"]
