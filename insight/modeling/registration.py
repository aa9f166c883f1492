"""Importing this module registers insight's models with Detectron2."""

from .backbone.timm_fpn import build_timm_fpn_backbone
from .meta_arch.prompt_rcnn import PromptRCNN
from .proposal_generator.prompt_rpn import PromptRPN

__all__ = ["PromptRCNN", "PromptRPN", "build_timm_fpn_backbone"]
