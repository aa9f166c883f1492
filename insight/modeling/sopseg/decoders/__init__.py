"""Mask decoders with one interface, from DecoderInput to MaskPrediction."""

from torch import nn

from insight.errors import InputError

from .edge import EdgeDecoder
from .fine import FineDecoder
from .hq import HQDecoder
from .matting import MattingDecoder
from .prediction import DecoderInput, MaskPrediction
from .sam import SAMDecoder

DECODERS: dict[str, type[SAMDecoder]] = {
    "sam": SAMDecoder,
    "hq": HQDecoder,
    "matting": MattingDecoder,
    "edge": EdgeDecoder,
    "fine": FineDecoder,
}


def build_decoder(name: str, shallow_channels: int, fine_channels: tuple[int, ...] = ()) -> nn.Module:
    """Build a mask decoder with random weights.

    Args:
        name: one of DECODERS: SAM's, HQ-SAM's, Matting Anything's, SOPSeg's own ("edge"), or ours ("fine").
        shallow_channels: channels of the encoder's shallow features.
        fine_channels: channels of the encoder's features at 1/4 and 1/8, which only "fine" uses; empty if it has none.

    Returns:
        A module from DecoderInput to MaskPrediction.

    Raises:
        InputError: an unknown name.
    """
    if name not in DECODERS:
        raise InputError(f"decoder: expected one of {', '.join(DECODERS)}, got {name!r}")
    if name == "fine":
        return FineDecoder(shallow_channels, fine_channels=fine_channels)
    return DECODERS[name](shallow_channels)


__all__ = [
    "DECODERS",
    "DecoderInput",
    "EdgeDecoder",
    "FineDecoder",
    "HQDecoder",
    "MaskPrediction",
    "MattingDecoder",
    "SAMDecoder",
    "build_decoder",
]
