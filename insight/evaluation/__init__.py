"""Average precision of detections, and IoU of masks from given boxes."""

from .boundary import BOUNDARY_RATIO, boundary_distance, boundary_iou
from .coco import AREA_PROFILES, CocoEvaluator
from .prompted import PromptedIoU, evaluate_prompted
from .prompted_evaluator import PromptedEvaluator

__all__ = [
    "AREA_PROFILES",
    "BOUNDARY_RATIO",
    "CocoEvaluator",
    "PromptedEvaluator",
    "PromptedIoU",
    "boundary_distance",
    "boundary_iou",
    "evaluate_prompted",
]
