"""Average precision of detections, and IoU of masks from given boxes."""

from .coco import AREA_PROFILES, CocoEvaluator
from .prompted import PromptedIoU, evaluate_prompted

__all__ = ["AREA_PROFILES", "CocoEvaluator", "PromptedIoU", "evaluate_prompted"]
