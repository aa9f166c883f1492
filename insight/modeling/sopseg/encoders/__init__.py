"""SAM's image encoders: ViT-B, ViT-L, ViT-H and ViT-T."""

from torch import nn

from insight.errors import InputError

from .features import MAX_SIZE, STRIDE, ImageFeatures, check_input_size
from .tiny_vit import TinyViTEncoder
from .vit import ViTEncoder

# embed_dim, depth, num_heads, global_blocks
VIT_CONFIGS = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}
ENCODERS = ("vit_t", *VIT_CONFIGS)


def build_encoder(name: str) -> nn.Module:
    """Build a SAM image encoder with random weights.

    Args:
        name: one of ENCODERS.

    Returns:
        A module from (B, 3, H, W) images to ImageFeatures, with the attributes shallow_channels, fine_channels,
        global_heads, stages and neck.

    Raises:
        InputError: an unknown name.
    """
    if name == "vit_t":
        return TinyViTEncoder()
    if name in VIT_CONFIGS:
        return ViTEncoder(*VIT_CONFIGS[name])
    raise InputError(f"encoder: expected one of {', '.join(ENCODERS)}, got {name!r}")


__all__ = [
    "ENCODERS",
    "MAX_SIZE",
    "STRIDE",
    "VIT_CONFIGS",
    "ImageFeatures",
    "TinyViTEncoder",
    "ViTEncoder",
    "build_encoder",
    "check_input_size",
]
