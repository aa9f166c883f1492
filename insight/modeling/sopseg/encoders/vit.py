"""SAM's ViT image encoder for any input size, with windowed attention without padding."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insight.modeling.sopseg.derived import DerivedTensors
from insight.modeling.sopseg.layers import MLPBlock, neck

from .features import STRIDE, ImageFeatures, check_images
from .windows import attend_windows, padding_logit


class ViTEncoder(nn.Module):
    """ViT with windowed attention, a few global attention blocks and decomposed relative positions.

    State dict and output are those of segment-anything's `ImageEncoderViT` for 1024 x 1024 pixels. For other input
    sizes the position table (bilinear) and the global blocks' relative positions (linear) are interpolated.

    Args:
        embed_dim: channels of a token.
        depth: number of blocks.
        num_heads: number of attention heads.
        global_blocks: indices of the blocks with global attention; F_s is the output of the first.
        window: side of an attention window, tokens.
        table_size: side of the position table, tokens (the checkpoint's input size / 16).
        out_channels: channels of the image embedding.

    Source: Kirillov et al. 2023, Segment Anything; SOPSeg, Eq. 3 (position embedding interpolation).
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        global_blocks: Sequence[int],
        window: int = 14,
        table_size: int = 64,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.shallow_channels = embed_dim
        self.fine_channels = ()  # all blocks are at 1/16
        self.global_heads = num_heads
        self.shallow_block = min(global_blocks)
        self.patch_embed = PatchEmbed(embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, table_size, table_size, embed_dim))
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, *((0, table_size) if i in global_blocks else (window, window)))
            for i in range(depth)
        )
        self.neck = neck(embed_dim, out_channels)

    @property
    def stages(self) -> nn.ModuleList:
        """The blocks in order; the last ones can be trained alone."""
        return self.blocks

    def forward(self, images: Tensor) -> ImageFeatures:
        """Encode a batch of crops.

        Args:
            images: (B, 3, H, W) float, normalised RGB; H and W multiples of 64 up to 1024.

        Returns:
            The image embedding and, as shallow feature, the output of the first global attention block.

        Raises:
            InputError: images of another dtype or shape.
        """
        check_images(images)
        x = self.patch_embed(images)
        x = x + self._position_table(x.shape[1], x.shape[2])
        shallow = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == self.shallow_block:
                shallow = x
        return ImageFeatures(self.neck(x.permute(0, 3, 1, 2)), shallow.permute(0, 3, 1, 2))

    def _position_table(self, height: int, width: int) -> Tensor:
        if self.pos_embed.shape[1:3] == (height, width):
            return self.pos_embed
        table = self.pos_embed.permute(0, 3, 1, 2)  # interpolating it is faster than a cache that compares it
        resized = F.interpolate(table, (height, width), mode="bilinear", align_corners=False)
        return resized.permute(0, 2, 3, 1)


class PatchEmbed(nn.Module):
    """Embedding of non-overlapping patches, channels last."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=STRIDE, stride=STRIDE)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Transformer block; window 0 is global attention."""

    def __init__(self, dim: int, num_heads: int, window: int, table_size: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, window, table_size)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Multi-head attention with decomposed relative positions, within windows or over the whole grid."""

    def __init__(self, dim: int, num_heads: int, window: int, table_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * table_size - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * table_size - 1, dim // num_heads))
        self._derived = DerivedTensors()

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        return self.proj(attend_windows(qkv, self.window, self._attend) if self.window else self._attend(qkv))

    def _attend(self, qkv: Tensor) -> Tensor:
        """Attention within each of M equal windows: (M, h, w, 3 C) -> (M, h, w, C)."""
        m, h, w, channels = qkv.shape
        heads, head_dim = self.num_heads, channels // 3 // self.num_heads
        q, k, v = qkv.reshape(m, h * w, 3, heads, head_dim).permute(2, 0, 3, 1, 4)  # each (M, heads, h w, head_dim)

        table_h = self._relative("rel_pos_h", self.window or h)[:h]
        table_w = self._relative("rel_pos_w", self.window or w)[:w]
        query = q.reshape(m, heads, h, w, head_dim)
        rows = torch.einsum("mnhwd,hkd->mnhwk", query, table_h)
        columns = torch.einsum("mnhwd,wkd->mnhwk", query, table_w)
        bias = rows[..., :h, None] + columns[..., None, :w]
        bias = bias.reshape(m, heads, h * w, h * w)

        if self.window and h * w < self.window**2:
            # SAM pads after the norm with zeros, whose key and value are the biases of qkv.
            logit = padding_logit(rows, columns, h, w).reshape(m, heads, h * w, 1)
            bias = torch.cat([bias, logit.to(bias.dtype)], -1)
            _, pad_k, pad_v = self.qkv.bias.to(k.dtype).reshape(3, 1, heads, 1, head_dim).expand(-1, m, -1, -1, -1)
            k, v = torch.cat([k, pad_k], 2), torch.cat([v, pad_v], 2)

        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return out.transpose(1, 2).reshape(m, h, w, heads * head_dim)

    def _relative(self, name: str, length: int) -> Tensor:
        """(length, length, head_dim), the relative position embedding of query i and key j along one axis."""
        table = getattr(self, name)
        return self._derived.get(table, (name, length), lambda table: _relative_positions(table, length))


def _relative_positions(table: Tensor, length: int) -> Tensor:
    if table.shape[0] != 2 * length - 1:
        table = F.interpolate(table.T[None], 2 * length - 1, mode="linear", align_corners=False)[0].T
    offsets = torch.arange(length, device=table.device)
    return table[offsets[:, None] - offsets[None, :] + length - 1]
