"""Global-to-local prompt module (GPM): the parts of an instance attend to the whole image."""

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from insight import ops
from insight.errors import InputError


class GlobalToLocalPrompt(nn.Module):
    """Global-to-local prompt module.

    Whole images are partitioned into global tokens, crops into part tokens. `depth` times, each side attends to itself,
    and then the parts attend to the image (Eq. 5, which has no projections: keys = values = global tokens). The global
    side does not depend on boxes, so `encode_images` runs all its loops once per image, for all boxes of all branches.

    Both sides share position embeddings: a part gets the image's embedding at its centre, plus one of its place within
    the crop. As Eq. 5 compares tokens without projections, separate embeddings could not tell a part where it lies in
    the image.

    Source: Insight Any Instance, section III-B2, Figure 6 and Eq. 5.

    Args:
        in_channels: channels of images and crops.
        crop_size: side of the crop, pixels.
        dim: channels of a token.
        num_heads: attention heads.
        depth: number of loops.
        global_patch: side of a patch of the whole image, network-input pixels.
        local_patch: side of a patch of the crop, pixels.

    Raises:
        InputError: num_heads does not divide dim, or local_patch does not divide crop_size.
    """

    POSITIONS = 25  # side of the position table: the paper's 800 x 800 image in patches of 32
    GLOBAL_MLP_RATIO = 4
    PART_MLP_RATIO = 1  # a part block runs for every box, a global block once per image
    READOUT_RATIO = 3

    def __init__(
        self,
        in_channels: int,
        crop_size: int,
        dim: int,
        num_heads: int,
        depth: int,
        global_patch: int,
        local_patch: int,
    ):
        super().__init__()
        if dim % num_heads:
            raise InputError(f"MODEL.PROMPT.GPM.NUM_HEADS {num_heads} does not divide DIM {dim}")
        if crop_size % local_patch:
            raise InputError(f"MODEL.PROMPT.GPM.LOCAL_PATCH {local_patch} does not divide CROP_SIZE {crop_size}")
        self.num_heads = num_heads
        self.global_patch = global_patch
        self.grid = crop_size // local_patch
        self.out_channels = dim
        parts = self.grid**2

        self.global_patches = nn.Conv2d(in_channels, dim, global_patch, global_patch)
        self.part_patches = nn.Conv2d(in_channels, dim, local_patch, local_patch)
        self.global_positions = nn.Parameter(torch.empty(1, dim, self.POSITIONS, self.POSITIONS))
        self.part_positions = nn.Parameter(torch.empty(1, parts, dim))
        nn.init.trunc_normal_(self.global_positions, std=0.02)
        nn.init.trunc_normal_(self.part_positions, std=0.02)

        self.global_blocks = nn.ModuleList(Block(dim, num_heads, self.GLOBAL_MLP_RATIO, True) for _ in range(depth))
        self.global_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.part_blocks = nn.ModuleList(Block(dim, num_heads, self.PART_MLP_RATIO, True) for _ in range(depth))
        for block in self.part_blocks:  # for the few parts of a box, a CPU's fused kernel is three times slower
            block.attn.fused_attn = False
        self.part_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        # Reads all parts of an instance together, once per box: each parameter costs one multiply-add.
        width = parts * dim
        self.readout = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, self.READOUT_RATIO * dim),
            nn.GELU(),
            nn.Linear(self.READOUT_RATIO * dim, width),
        )
        self.norm = nn.LayerNorm(dim)

        centres = (torch.arange(self.grid) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("part_centres", torch.stack([x, y], dim=-1).view(parts, 2), persistent=False)

    def encode_images(
        self, images: list[Tensor], sizes: list[tuple[int, int]], mean: Tensor, std: Tensor
    ) -> tuple[Tensor, ...]:
        """Compute the global tokens of whole images in every loop.

        Each image is stretched to the grid of the batch's largest image (by less than a patch if all have the same
        size), so that no token is padding.

        Args:
            images: per image (C, H, W), uint8 or float, at any resolution.
            sizes: per image (height, width) of the network's input, pixels.
            mean, std: (C,), with which the images are normalised.

        Returns:
            `depth` tensors (B, G, dim), layer-normalised: the keys and values of Eq. 5.
        """
        patch = self.global_patch
        rows = -(-max(height for height, _ in sizes) // patch)
        columns = -(-max(width for _, width in sizes) // patch)
        tokens = []
        for image in images:
            whole = torch.tensor([[0.0, 0.0, image.shape[-1], image.shape[-2]]], device=image.device)
            stretched = ops.crop_resize(image[None], whole, (rows * patch, columns * patch), mean=mean, std=std)
            tokens.append(_tokens(self.global_patches, stretched))
        positions = self.global_positions
        if positions.shape[-2:] != (rows, columns):
            positions = F.interpolate(positions, (rows, columns), mode="bilinear", align_corners=False)
        tokens = torch.cat(tokens) + positions.flatten(2).transpose(1, 2)
        encoded = []
        for block, norm in zip(self.global_blocks, self.global_norms):
            tokens = block(tokens)
            encoded.append(norm(tokens))
        return tuple(encoded)

    def forward(self, crops: Tensor, boxes: Tensor, global_tokens: tuple[Tensor, ...], image_index: Tensor) -> Tensor:
        """Encode crops in the context of their images.

        Args:
            crops: (N, C, crop_size, crop_size) float, normalised.
            boxes: (N, 4) float XYXY, fractions of the image: where the crops were cut.
            global_tokens: the output of `encode_images`.
            image_index: (N,) int64, the image of each crop.

        Returns:
            (N, dim, grid, grid) tokens, grid = crop_size / local_patch.
        """
        parts = _tokens(self.part_patches, crops) + self.part_positions + self._image_positions(boxes)
        for block, norm, tokens in zip(self.part_blocks, self.part_norms, global_tokens):
            parts = block(parts)
            parts = parts + ops.global_to_local_attention(norm(parts), tokens, image_index, self.num_heads)
        parts = parts + self.readout(parts.flatten(1)).view_as(parts)
        return self.norm(parts).transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def _image_positions(self, boxes: Tensor) -> Tensor:
        """(N, parts, dim), the image's position embedding at the centre of each part of each box."""
        corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        places = (corner + size * self.part_centres) * 2 - 1  # grid_sample's frame: -1 to 1 across the image
        table = self.global_positions
        sampled = F.grid_sample(table, places[None].to(table.dtype), padding_mode="border", align_corners=False)
        return sampled[0].permute(1, 2, 0)


def _tokens(patches: nn.Conv2d, images: Tensor) -> Tensor:
    """Embed the patches of (N, C, H, W) images: (N, tokens, dim). On a CPU 1.4 times as fast as a convolution."""
    side = patches.kernel_size[0]
    rows = images.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    return F.linear(rows, patches.weight.flatten(1), patches.bias)
