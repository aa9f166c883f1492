"""Mask decoders under one interface: DecoderInput in, MaskPrediction out."""

from torch import nn

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
    """A mask decoder with random weights.

    Args:
        name: one of DECODERS: SAM's, HQ-SAM's, Matting Anything's, or SOPSeg's own ("edge").
        shallow_channels: channels of the encoder's shallow features.

    Returns:
        A module from DecoderInput to MaskPrediction.

    Raises:
        ValueError: another name.
    """
    if name not in DECODERS:
        raise ValueError(f"decoder: expected one of {', '.join(DECODERS)}, got {name!r}")
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
