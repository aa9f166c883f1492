"""Registers insight's models with Detectron2 when it is imported."""

from importlib.util import find_spec

from .backbone.timm_fpn import build_timm_fpn_backbone
from .meta_arch import PromptRCNN, SOPSegMetaArch
from .proposal_generator.prompt_rpn import PromptRPN
from .roi_heads import CascadeMaskROIHeads, SCNetMaskHead, SCNetROIHeads

__all__ = [
    "CascadeMaskROIHeads",
    "PromptRCNN",
    "PromptRPN",
    "SCNetMaskHead",
    "SCNetROIHeads",
    "SOPSegMetaArch",
    "build_timm_fpn_backbone",
]

if find_spec("detectron2.projects") is not None and find_spec("detectron2.projects.point_rend") is not None:
    from .roi_heads import point_rend  # noqa: F401
