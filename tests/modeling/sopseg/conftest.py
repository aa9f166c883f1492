"""A small SAM in two implementations: ours, and segment-anything's with the same weights."""

import copy
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from insight.modeling.sopseg.decoders import SAMDecoder
from insight.modeling.sopseg.encoders import TinyViTEncoder, ViTEncoder
from insight.modeling.sopseg.model import SOPSeg
from insight.modeling.sopseg.prompt_encoder import PromptEncoder

DIM, DEPTH, HEADS, GLOBAL_BLOCKS = 48, 4, 3, (1, 3)
TIMM_STAGE_OF_DOWNSAMPLE = {
    0: 1,
    1: 2,
    2: 3,
}  # timm puts the step to a stage at its start, MobileSAM at the end of the last


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic a random value that matters: no zero tables, biases or unit norms."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32).to(parameter.dtype)
        parameter.data.copy_(noise / fan_in**0.5)
    for name, layer in module.named_modules():
        if "norm" in name or isinstance(layer, (nn.LayerNorm, nn.BatchNorm2d)):
            for parameter in layer.parameters(recurse=False):
                parameter.data.add_(1.0)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(torch.randn(layer.running_mean.shape, generator=generator))
            layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=generator) + 0.5)
    for name, parameter in module.named_parameters():
        if "rel_pos" in name or "pos_embed" in name or "attention_biases" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return module.eval()


def small_sopseg(seed: int = 0) -> SOPSeg:
    encoder = ViTEncoder(DIM, DEPTH, HEADS, GLOBAL_BLOCKS)
    return randomise(SOPSeg(encoder, PromptEncoder(), SAMDecoder(DIM)), seed)


def segment_anything_twin(
    model: SOPSeg,
    size: int | tuple[int, int],
    dim: int = DIM,
    depth: int = DEPTH,
    heads: int = HEADS,
    global_blocks: tuple[int, ...] = GLOBAL_BLOCKS,
):
    """segment-anything's own `Sam` for size x size (or height x width) input, with the model's weights.

    Only the position table, which segment-anything cannot resize, is resized for it.
    """
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, Sam, TwoWayTransformer
    from segment_anything.modeling import PromptEncoder as ReferencePromptEncoder

    height, width = (size, size) if isinstance(size, int) else size
    grid = (height // 16, width // 16)
    twin = Sam(
        image_encoder=ImageEncoderViT(
            img_size=1024,
            depth=depth,
            embed_dim=dim,
            num_heads=heads,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            global_attn_indexes=global_blocks,
            window_size=14,
            out_chans=256,
        ),
        prompt_encoder=ReferencePromptEncoder(256, grid, (height, width), 16),
        mask_decoder=MaskDecoder(
            transformer_dim=256, transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        ),
    )
    twin.to(model.image_encoder.pos_embed.dtype).load_state_dict(model.state_dict())
    twin.image_encoder.img_size = height
    table = twin.image_encoder.pos_embed.data.permute(0, 3, 1, 2)
    table = F.interpolate(table, grid, mode="bilinear", align_corners=False)
    twin.image_encoder.pos_embed.data = table.permute(0, 2, 3, 1).contiguous()
    return twin.eval()


def timm_twin(encoder: TinyViTEncoder) -> torch.nn.Module:
    """timm's TinyViT-5M with the encoder's weights and MobileSAM's stride of 1 before the last stage."""
    twin = timm.create_model("tiny_vit_5m_224", pretrained=False, num_classes=0).eval()
    twin.stages[3].downsample.conv2.conv.stride = (1, 1)
    state = {}
    for name, tensor in encoder.state_dict().items():
        if name.startswith("neck."):
            continue
        parts = name.split(".")
        if parts[0] == "patch_embed":
            parts[1:3] = ["conv1" if parts[2] == "0" else "conv2"]
        else:
            stage = int(parts[1])
            parts[:2] = ["stages", str(TIMM_STAGE_OF_DOWNSAMPLE[stage] if parts[2] == "downsample" else stage)]
        state[".".join("conv" if part == "c" else part for part in parts)] = tensor
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("head.") or "attention_bias_idxs" in name for name in missing)
    return twin


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.fixture(scope="session")
def model() -> SOPSeg:
    """SAM with a small ViT and random weights; do not change it."""
    return small_sopseg()


@pytest.fixture(scope="session")
def double_model(model) -> SOPSeg:
    """The same in float64; do not change it."""
    return copy.deepcopy(model).double()


@pytest.fixture(scope="session")
def twin_of():
    return segment_anything_twin


@pytest.fixture(scope="session")
def timm_twin_of():
    return timm_twin


@pytest.fixture(scope="session")
def random_weights():
    return randomise


@pytest.fixture(scope="session")
def error_between():
    return relative_error
