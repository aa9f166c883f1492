"""Importing this module registers insight's models with Detectron2."""

from .backbone.timm_fpn import build_timm_fpn_backbone
from .meta_arch.prompt_rcnn import PromptRCNN
from .proposal_generator.prompt_rpn import PromptRPN
from .roi_heads import CascadeMaskROIHeads, SCNetMaskHead, SCNetROIHeads

__all__ = [
    "CascadeMaskROIHeads",
    "PromptRCNN",
    "PromptRPN",
    "SCNetMaskHead",
    "SCNetROIHeads",
    "build_timm_fpn_backbone",
]
