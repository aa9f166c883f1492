"""The side of the crop around an object, where none is given."""

from .decoders import SAMDecoder
from .model import SOPSeg

MAGNIFIED = 256  # pixels, as SOPSeg is trained
ZERO_SHOT = 512  # pixels, for SAM: smaller crops cost it three points of IoU


def default_crop_size(model: SOPSeg) -> int:
    """Return the side of crops that suits a model: 512 pixels for SAM's decoder, 256 for those that SOPSeg trains.

    A SAM decoder that was trained on crops of another size needs that size given.

    Args:
        model: the model.

    Returns:
        Pixels.
    """
    return ZERO_SHOT if type(model.mask_decoder) is SAMDecoder else MAGNIFIED
