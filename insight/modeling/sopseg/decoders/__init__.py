"""Mask decoders with one interface, from DecoderInput to MaskPrediction."""

from torch import nn

from insight.errors import InputError

from .edge import EdgeDecoder
from .hq import HQDecoder
from .matting import MattingDecoder
from .prediction import DecoderInput, MaskPrediction
from .sam import SAMDecoder

DECODERS: dict[str, type[SAMDecoder]] = {
    "sam": SAMDecoder,
    "hq": HQDecoder,
    "matting": MattingDecoder,
    "edge": EdgeDecoder,
}


def build_decoder(name: str, shallow_channels: int) -> nn.Module:
    """Build a mask decoder with random weights.

    Args:
        name: one of DECODERS: SAM's, HQ-SAM's, Matting Anything's, or SOPSeg's own ("edge").
        shallow_channels: channels of the encoder's shallow features.

    Returns:
        A module from DecoderInput to MaskPrediction.

    Raises:
        InputError: an unknown name.
    """
    if name not in DECODERS:
        raise InputError(f"decoder: expected one of {', '.join(DECODERS)}, got {name!r}")
    return DECODERS[name](shallow_channels)


__all__ = [
    "DECODERS",
    "DecoderInput",
    "EdgeDecoder",
    "HQDecoder",
    "MaskPrediction",
    "MattingDecoder",
    "SAMDecoder",
    "build_decoder",
]
