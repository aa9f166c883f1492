"""RoI heads that Detectron2 does not have."""

from .cascade_masks import CascadeMaskROIHeads
from .scnet import SCNetMaskHead, SCNetROIHeads

__all__ = ["CascadeMaskROIHeads", "SCNetMaskHead", "SCNetROIHeads"]
