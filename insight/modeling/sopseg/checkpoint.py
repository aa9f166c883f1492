"""Reading SAM and SOPSeg checkpoints: what is in the file, and a model with exactly its weights."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from insight.weights import not_finite

from .decoders import EdgeDecoder, SAMDecoder
from .encoders import VIT_CONFIGS
from .model import SOPSeg, build_sopseg

# A parameter that only this decoder has.
DECODER_MARKS = {
    "edge": "mask_decoder.edge_token.weight",
    "hq": "mask_decoder.hf_token.weight",
    "matting": "mask_decoder.head_1.0.weight",
}
WRAPPERS = ("model", "state_dict")  # keys under which training checkpoints keep the weights


def load_sopseg(path: str | Path, encoder: str | None = None, decoder: str | None = None) -> SOPSeg:
    """A model with the weights of a checkpoint: SAM's `sam_vit_*.pth`, MobileSAM's `mobile_sam.pt`, or one of ours.

    The encoder is told from the weights. Where the file holds plain SAM and the decoder adds to it, the edge
    branch starts as a copy of SAM's first mask and the other additions are random.

    Args:
        path: the file; only tensors are read from it (`weights_only`).
        encoder: what the file must hold, for an early error if it does not; None accepts any.
        decoder: "sam", "hq", "matting" or "edge"; None takes the file's own.

    Returns:
        The model, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is corrupt, needs pickle, or holds another model, or NaN.
    """
    state_dict = read_state_dict(path)
    found_encoder, found_decoder = identify(state_dict, path)
    if encoder not in (None, found_encoder):
        raise ValueError(f"weights: {path} holds a {found_encoder} image encoder, expected {encoder}")
    if found_decoder != "sam" and decoder not in (None, found_decoder):
        raise ValueError(f"weights: {path} holds the mask decoder {found_decoder!r}, expected {decoder!r} or plain SAM")

    model = build_sopseg(found_encoder, decoder or found_decoder)
    _check_shapes(model, state_dict, path)
    missing, unexpected = model.load_state_dict(state_dict, strict=False)
    if found_decoder == "sam":
        missing = [name for name in missing if name not in _additions(model)]
    if missing or unexpected:
        what = f"lacks {missing[0]}" if missing else f"has an unknown tensor {unexpected[0]}"
        raise ValueError(
            f"weights: {path} is no {found_encoder} checkpoint with the decoder {found_decoder!r}: it {what} "
            f"({len(missing)} missing, {len(unexpected)} unknown)"
        )
    if (name := not_finite(state_dict)) is not None:
        raise ValueError(f"weights: {path}: {name} holds NaN or infinity; did its training diverge?")
    if found_decoder == "sam" and isinstance(model.mask_decoder, EdgeDecoder):
        model.mask_decoder.initialise_from_sam()
    return model.eval()


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, by name.

    Args:
        path: a file of `torch.save`: a state dict, or a dict that holds one under "model" or "state_dict".

    Returns:
        The state dict, on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: corrupt, in need of pickle, or no state dict.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: {path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise ValueError(
                f"weights: {path} holds Python objects, which would need pickle; save its state dict alone, with "
                "torch.save(model.state_dict(), ...)"
            ) from None
        raise ValueError(f"weights: {path} is no PyTorch checkpoint") from None
    except OSError:
        raise
    except Exception as error:  # other bytes than a checkpoint's can make the unpickler raise anything
        raise ValueError(f"weights: {path} is corrupt or no PyTorch checkpoint ({type(error).__name__})") from None
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"weights: {path} holds no state dict (tensors by name, or such a dict under 'model')")
    return content


def identify(state_dict: dict[str, Tensor], source: str | Path) -> tuple[str, str]:
    """Tell the image encoder and mask decoder of a state dict.

    Args:
        state_dict: tensors by name.
        source: where they are from, for the error.

    Returns:
        The encoder ("vit_t", "vit_b", "vit_l" or "vit_h") and the decoder ("sam", "hq", "matting" or "edge").

    Raises:
        ValueError: neither SAM nor SOPSeg.
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
        raise ValueError(
            f"weights: {source} holds a ViT with {depth} blocks of {table.shape[-1]} channels; "
            f"expected {', '.join(f'{n} ({c[1]} of {c[0]})' for n, c in VIT_CONFIGS.items())} or vit_t"
        )
    kind = "SAM 2" if any(name.startswith("image_encoder.trunk.") for name in state_dict) else "another model"
    raise ValueError(f"weights: {source} is a checkpoint of {kind}; expected SAM (sam_vit_b/l/h), MobileSAM or SOPSeg")


def _check_shapes(model: SOPSeg, state_dict: dict[str, Tensor], path: str | Path) -> None:
    for name, expected in model.state_dict().items():
        found = state_dict.get(name)
        if found is not None and found.shape != expected.shape:
            raise ValueError(
                f"weights: {path} has {name} of shape {tuple(found.shape)}, expected {tuple(expected.shape)}; "
                "was it saved by a model built for another input size?"
            )


def _additions(model: SOPSeg) -> set[str]:
    """What the model's decoder has beyond SAM's."""
    with torch.device("meta"):
        sam = {f"mask_decoder.{name}" for name in SAMDecoder(1).state_dict()}
    return {name for name in model.state_dict() if name.startswith("mask_decoder.")} - sam
