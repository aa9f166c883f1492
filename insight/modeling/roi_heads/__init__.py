"""RoI heads that Detectron2 does not have."""

from .cascade_masks import CascadeMaskROIHeads

__all__ = ["CascadeMaskROIHeads"]
