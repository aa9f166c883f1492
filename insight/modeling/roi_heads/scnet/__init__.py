"""SCNet (arXiv 2012.10150): a cascade whose mask head gets boxes of the same quality in training and inference."""

from .heads import SCNetROIHeads
from .mask_head import SCNetMaskHead

__all__ = ["SCNetMaskHead", "SCNetROIHeads"]
