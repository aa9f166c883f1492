"""A SOPSeg small enough for tests, with random weights that matter, and its twin of segment-anything."""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from insight.modeling.sopseg import build_sopseg
from insight.modeling.sopseg.decoders import SAMDecoder
from insight.modeling.sopseg.encoders import VIT_CONFIGS, ViTEncoder
from insight.modeling.sopseg.model import SOPSeg
from insight.modeling.sopseg.prompt_encoder import PromptEncoder

DIM, DEPTH, HEADS, GLOBAL_BLOCKS = 48, 4, 3, (1, 3)


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


def save_tiny_checkpoint(path: Path, monkeypatch, decoder: str = "sam", seed: int = 0) -> SOPSeg:
    """Write the checkpoint of a tiny model and return the model; in this test, "vit_b" is as small as that."""
    monkeypatch.setitem(VIT_CONFIGS, "vit_b", (DIM, DEPTH, HEADS, GLOBAL_BLOCKS))
    model = randomise(build_sopseg("vit_b", decoder), seed)
    torch.save(model.state_dict(), path)
    return model
