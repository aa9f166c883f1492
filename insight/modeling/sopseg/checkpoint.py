"""SAM's and SOPSeg's checkpoints: identify what a file holds, and build a model with exactly its weights."""

import os

import torch
from torch import Tensor

from insight.checkpoint import CheckpointError, read_state_dict, require_finite

from .decoders import EdgeDecoder, SAMDecoder
from .encoders import VIT_CONFIGS
from .model import SOPSeg, build_sopseg

# A parameter that a decoder has and those below it lack.
DECODER_MARKS = {
    "fine": "mask_decoder.refinement.subpixel_head.weight",
    "edge": "mask_decoder.edge_token.weight",
    "hq": "mask_decoder.hf_token.weight",
    "matting": "mask_decoder.head_1.0.weight",
}


class OtherModelError(CheckpointError):
    """The weights are of neither SAM nor SOPSeg."""


def load_sopseg(path: str | os.PathLike, encoder: str | None = None, decoder: str | None = None) -> SOPSeg:
    """Build the model of a checkpoint: SAM's `sam_vit_*.pth`, MobileSAM's `mobile_sam.pt`, or one of ours.

    The encoder is identified by its weights. If the file holds plain SAM and the decoder extends it, the edge branch is
    initialised from SAM's first mask and the other additions are random.

    Args:
        path: the file; nothing in it is executed (`insight.checkpoint`).
        encoder: required encoder, "vit_t", "vit_b", "vit_l" or "vit_h"; None accepts any.
        decoder: "sam", "hq", "matting", "edge" or "fine"; None uses the decoder of the file.

    Returns:
        The model, in evaluation mode, on the CPU, in float32.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe, holds another model, encoder or decoder, or NaN.
        OSError: the file cannot be read.
    """
    state_dict = read_state_dict(path)
    found_encoder, found_decoder = identify(state_dict, path)
    if encoder not in (None, found_encoder):
        raise CheckpointError(f"{path}: expected the image encoder {encoder}, got {found_encoder}")
    if found_decoder != "sam" and decoder not in (None, found_decoder):
        raise CheckpointError(f"{path}: expected the mask decoder {decoder!r} or SAM's, got {found_decoder!r}")

    model = build_sopseg(found_encoder, decoder or found_decoder)
    if "prompt_encoder.angle_embed.weight" in state_dict:
        model.prompt_encoder.add_angle_token()
    _check_shapes(model, state_dict, path)
    missing, unexpected = model.load_state_dict(state_dict, strict=False)
    if found_decoder == "sam":
        missing = [name for name in missing if name not in _additions(model)]
    if missing or unexpected:
        problem = f"{missing[0]} is missing" if missing else f"{unexpected[0]} is unknown"
        raise CheckpointError(
            f"{path}: not a {found_encoder} checkpoint with the decoder {found_decoder!r}: {problem} "
            f"({len(missing)} missing, {len(unexpected)} unknown)"
        )
    require_finite(state_dict, path)
    if found_decoder == "sam" and isinstance(model.mask_decoder, EdgeDecoder):
        model.mask_decoder.initialise_from_sam()
    return model.eval()


def identify(state_dict: dict[str, Tensor], source: str | os.PathLike) -> tuple[str, str]:
    """Identify the image encoder and mask decoder of a state dict.

    Args:
        state_dict: tensors by name.
        source: the file, for the error.

    Returns:
        The encoder ("vit_t", "vit_b", "vit_l" or "vit_h") and the decoder ("sam", "hq", "matting", "edge" or "fine").

    Raises:
        CheckpointError: the weights are of neither SAM nor SOPSeg.
    """
    decoder = next((name for name, mark in DECODER_MARKS.items() if mark in state_dict), "sam")
    if "image_encoder.layers.1.blocks.0.attn.attention_biases" in state_dict:
        return "vit_t", decoder
    table = state_dict.get("image_encoder.pos_embed")
    if table is not None:
        depth = len({name.split(".")[2] for name in state_dict if name.startswith("image_encoder.blocks.")})
        for name, (embed_dim, config_depth, *_) in VIT_CONFIGS.items():
            if (table.shape[-1], depth) == (embed_dim, config_depth):
                return name, decoder
        known = ", ".join(f"{name} ({config[1]} of {config[0]})" for name, config in VIT_CONFIGS.items())
        raise CheckpointError(
            f"{source}: expected the image encoder {known} or vit_t, got a ViT with {depth} blocks of "
            f"{table.shape[-1]} channels"
        )
    kind = "SAM 2" if any(name.startswith("image_encoder.trunk.") for name in state_dict) else "another model"
    raise OtherModelError(f"{source}: expected a checkpoint of SAM (sam_vit_b/l/h), MobileSAM or SOPSeg, got {kind}")


def _check_shapes(model: SOPSeg, state_dict: dict[str, Tensor], path: str | os.PathLike) -> None:
    for name, expected in model.state_dict().items():
        found = state_dict.get(name)
        if found is not None and found.shape != expected.shape:
            raise CheckpointError(
                f"{path}: {name}: expected shape {tuple(expected.shape)}, got {tuple(found.shape)}; was it saved by a "
                "model built for another input size?"
            )


def _additions(model: SOPSeg) -> set[str]:
    """Names of the decoder's parameters that SAM's lacks."""
    with torch.device("meta"):
        sam = {f"mask_decoder.{name}" for name in SAMDecoder(1).state_dict()}
    return {name for name in model.state_dict() if name.startswith("mask_decoder.")} - sam
