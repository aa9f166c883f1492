"""SCNet (arXiv 2012.10150): a cascade whose one mask head sees boxes of the same quality in training as in use."""

from .heads import SCNetROIHeads
from .mask_head import SCNetMaskHead

__all__ = ["SCNetMaskHead", "SCNetROIHeads"]
