"""Say when an image is shrunk so far for the network that objects in it vanish."""

import logging

_LEAST = 0.5  # networks are trained at about the size of their images
_SEEN = 32  # pixels, the side of a small object (COCO's bound)

_logger = logging.getLogger(__name__)


class ShrinkageCheck:
    """Warn of the first image that is shrunk to less than half of its size.

    Args:
        reason: why an image is resized, and what to set for another size.
    """

    def __init__(self, reason: str):
        self._reason = reason
        self._warned = False

    def __call__(self, size: tuple[int, int], scale: float) -> None:
        """Look at an image.

        Args:
            size: (height, width), pixels.
            scale: pixels of the network's input per pixel of the image.
        """
        if scale >= _LEAST or self._warned:
            return
        self._warned = True
        _logger.warning(
            f"an image of {size[1]} x {size[0]} pixels is shrunk to {scale:.2f} of its size: an object of {_SEEN} "
            f"pixels has {_SEEN * scale:.0f} left, and small ones vanish. {self._reason}; cut large images into tiles"
        )
