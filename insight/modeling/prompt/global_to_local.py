"""Global-to-local prompt module (GPM): the parts of an instance attend to the whole image."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from insight import ops
from insight.errors import InputError
from insight.structures.context_windows import WINDOW

from .positions import SinusoidalEmbedding


@dataclass(frozen=True)
class GlobalTokens:
    """The global tokens of one image.

    Args:
        grid: (rows, columns) of tokens over the image.
        loops: per loop of the module (rows * columns, dim), layer-normalised: the keys and values of Eq. 5.
    """

    grid: tuple[int, int]
    loops: tuple[Tensor, ...]


class GlobalToLocalPrompt(nn.Module):
    """Global-to-local prompt module.

    Whole images are partitioned into global tokens, crops into part tokens. `depth` times, each side attends to itself,
    and then the parts attend to the image (Eq. 5, which has no projections: keys = values = global tokens). The global
    side does not depend on boxes, so `encode_images` runs all its loops once per image, for all boxes of all branches.

    Both sides share position embeddings, as Eq. 5 compares tokens without projections: sines and cosines of the place
    in patches, of the size of the content, so that tokens find their neighbours from the first step, plus a learnt
    table. A part gets the embedding of its centre, one of its place within the crop, and one of the box's size.

    An image is read at its own resolution, in patches of `global_patch` pixels, or shrunk to at most `max_tokens`
    patches. Its grid depends on nothing else: neither on the network's resize nor on the other images of the batch.

    Source: Insight Any Instance, section III-B2, Figure 6 and Eq. 5. The features of a backbone beside the patches
    (`feature_channels`) go beyond the paper.

    Args:
        in_channels: channels of images and crops.
        crop_size: side of the crop, pixels.
        dim: channels of a token.
        num_heads: attention heads.
        depth: number of loops.
        global_patch: side of a patch of the whole image, pixels.
        local_patch: side of a patch of the crop, pixels.
        max_tokens: most global tokens of an image.
        feature_channels: channels of the backbone's feature map that is added to the patches; 0 for none.
        window: side of the windows of a scene that are taken for whole images, pixels; a multiple of 4.

    Raises:
        InputError: 4 num_heads do not divide dim, local_patch does not divide crop_size, or `STEM` global_patch.
    """

    POSITIONS = 25  # side of the learnt table: the paper's 800 x 800 image in patches of 32
    STEM = 4  # cells along each side of a patch, which are embedded first
    GLOBAL_BLOCKS = 2  # a loop: what runs once per image costs little
    GLOBAL_MLP_RATIO = 4
    PART_MLP_RATIO = 1  # a part block runs for every box

    def __init__(
        self,
        in_channels: int,
        crop_size: int,
        dim: int,
        num_heads: int,
        depth: int,
        global_patch: int,
        local_patch: int,
        max_tokens: int = 625,
        feature_channels: int = 0,
        window: int = WINDOW,
    ):
        super().__init__()
        if dim % (4 * num_heads):
            raise InputError(f"MODEL.PROMPT.GPM.DIM {dim}: expected a multiple of 4 NUM_HEADS, {4 * num_heads}")
        if crop_size % local_patch:
            raise InputError(f"MODEL.PROMPT.GPM.LOCAL_PATCH {local_patch} does not divide CROP_SIZE {crop_size}")
        if global_patch % self.STEM:
            raise InputError(f"MODEL.PROMPT.GPM.GLOBAL_PATCH {global_patch}: expected a multiple of {self.STEM}")
        self.num_heads = num_heads
        self.global_patch = global_patch
        self.max_tokens = max_tokens
        self.window = window
        self.grid = crop_size // local_patch
        self.out_channels = dim
        parts = self.grid**2

        cell = global_patch // self.STEM
        self.global_cells = nn.Conv2d(in_channels, dim // 2, cell, cell)
        self.global_patches = nn.Conv2d(dim // 2, dim, self.STEM, self.STEM)
        self.part_patches = nn.Conv2d(in_channels, dim, local_patch, local_patch)
        self.features = None
        if feature_channels:
            self.features = nn.Sequential(nn.LayerNorm(feature_channels), nn.Linear(feature_channels, dim))

        self.places = SinusoidalEmbedding(dim, num_heads, shortest=4.0, longest=64.0)  # in patches
        self.sizes = SinusoidalEmbedding(dim, num_heads, shortest=2.0, longest=24.0)  # in octaves
        self.size = nn.Linear(dim, dim)
        self.positions = nn.Parameter(torch.zeros(1, dim, self.POSITIONS, self.POSITIONS))
        self.part_positions = nn.Parameter(torch.empty(1, parts, dim))
        nn.init.trunc_normal_(self.part_positions, std=0.5)

        def global_blocks() -> nn.Sequential:
            blocks = (Block(dim, num_heads, self.GLOBAL_MLP_RATIO, True) for _ in range(self.GLOBAL_BLOCKS))
            return nn.Sequential(*blocks)

        self.global_blocks = nn.ModuleList(global_blocks() for _ in range(depth))
        self.global_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.part_blocks = nn.ModuleList(Block(dim, num_heads, self.PART_MLP_RATIO, True) for _ in range(depth))
        for block in self.part_blocks:  # for the few parts of a box, a CPU's fused kernel is three times slower
            block.attn.fused_attn = False
        self.part_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

        centres = (torch.arange(self.grid) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("part_centres", torch.stack([x, y], dim=-1).view(parts, 2), persistent=False)

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the (rows, columns) of global tokens of an image.

        Args:
            height, width: of the image at its own resolution, pixels.
        """
        rows, columns = -(-height // self.global_patch), -(-width // self.global_patch)
        if rows * columns > self.max_tokens:
            tokens_per_pixel = math.sqrt(self.max_tokens / (height * width))
            rows = min(max(1, int(height * tokens_per_pixel)), self.max_tokens)
            columns = min(max(1, int(width * tokens_per_pixel)), self.max_tokens // rows)
        return rows, columns

    def encode_images(
        self, images: Sequence[Tensor], mean: Tensor, std: Tensor, features: Iterable[Tensor] | None = None
    ) -> list[GlobalTokens]:
        """Compute the global tokens of whole images in every loop.

        Each image is stretched to a whole number of patches, so that no token is padding. Images of one grid are
        computed together.

        Args:
            images: per image (C, H, W), uint8 or float, at any resolution.
            mean, std: (C,), with which the images are normalised.
            features: per image (feature_channels, h, w) float, the backbone's features of the whole image; only with
                `feature_channels`.

        Returns:
            The tokens of each image.
        """
        grids = [self.token_grid(*image.shape[-2:]) for image in images]
        patches = [self._patches(image, grid, mean, std) for image, grid in zip(images, grids)]
        if self.features is not None:
            patches = [x + self._features(f, grid) for x, f, grid in zip(patches, features, grids, strict=True)]
        alike = defaultdict(list)
        for index, grid in enumerate(grids):
            alike[grid].append(index)
        encoded: list[GlobalTokens] = [None] * len(images)  # type: ignore[list-item]
        for grid, indices in alike.items():
            tokens = torch.cat([patches[index] for index in indices]) + self._grid_positions(grid)
            loops = []
            for block, norm in zip(self.global_blocks, self.global_norms):
                tokens = block(tokens)
                loops.append(norm(tokens).unbind())
            for index, of_image in zip(indices, zip(*loops)):
                encoded[index] = GlobalTokens(grid, of_image)
        return encoded

    def forward(
        self, crops: Tensor, boxes: Tensor, sizes: Tensor, images: Sequence[GlobalTokens], index: Tensor
    ) -> Tensor:
        """Encode crops in the context of their images.

        Args:
            crops: (N, C, crop_size, crop_size) float, normalised.
            boxes: (N, 4) float XYXY, fractions of the image: where the crops were cut.
            sizes: (N, 2) float, width and height of the boxes, pixels of the image at its own resolution.
            images: the output of `encode_images`.
            index: (N,) int64, the image of each crop.

        Returns:
            (N, dim, grid, grid) tokens, grid = crop_size / local_patch.
        """
        parts = _tokens(self.part_patches, crops) + self.part_positions + self._size_embedding(sizes)[:, None]
        grids = boxes.new_tensor([image.grid[::-1] for image in images])
        parts = parts + self._part_positions(boxes, grids[index])
        groups = _alike(images, index)
        for loop, (block, norm) in enumerate(zip(self.part_blocks, self.part_norms)):
            parts = block(parts)
            parts = parts + self._attend(norm(parts), [image.loops[loop] for image in images], groups)
        return self.norm(parts).transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def _patches(self, image: Tensor, grid: tuple[int, int], mean: Tensor, std: Tensor) -> Tensor:
        """(1, tokens, dim), the embedded patches of an image."""
        size = grid[0] * self.global_patch, grid[1] * self.global_patch
        whole = torch.tensor([[0.0, 0.0, image.shape[-1], image.shape[-2]]], device=image.device)
        stretched = ops.crop_resize(image[None], whole, size, mean=mean, std=std)
        cells = F.gelu(_tokens(self.global_cells, stretched)).transpose(1, 2)
        return _tokens(self.global_patches, cells.unflatten(2, (grid[0] * self.STEM, grid[1] * self.STEM)))

    def _features(self, feature: Tensor, grid: tuple[int, int]) -> Tensor:
        """(1, tokens, dim), the backbone's features of an image at its patches."""
        if feature.shape[-2:] != grid:
            whole = torch.tensor([[0.0, 0.0, feature.shape[-1], feature.shape[-2]]], device=feature.device)
            feature = ops.crop_resize(feature[None], whole, grid)[0]
        return self.features(feature.flatten(1).T)[None]

    def _attend(self, parts: Tensor, tokens: list[Tensor], groups: list[_Alike]) -> Tensor:
        """Eq. 5, in one call for all images with as many tokens."""
        attended = []
        for group in groups:
            keys = torch.stack([tokens[image] for image in group.images])
            own = parts if len(groups) == 1 else parts[group.rows]
            attended.append(ops.global_to_local_attention(own, keys, group.index, self.num_heads))
        if len(groups) == 1:
            return attended[0]
        return torch.cat(attended)[torch.cat([group.rows for group in groups]).argsort()]

    def _grid_positions(self, grid: tuple[int, int]) -> Tensor:
        """(tokens, dim), the position embeddings of an image's patches."""
        rows, columns = (torch.arange(n, device=self.positions.device) + 0.5 for n in grid)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        learnt = self.positions
        if learnt.shape[-2:] != grid:
            learnt = F.interpolate(learnt, grid, mode="bilinear", align_corners=False)
        return self.places(torch.stack([x, y], dim=-1).flatten(0, 1)) + learnt[0].flatten(1).T

    def _part_positions(self, boxes: Tensor, grids: Tensor) -> Tensor:
        """(N, parts, dim), the image's position embedding at the centre of each part; `grids` (N, 2): columns, rows."""
        corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        places = corner + size * self.part_centres
        frame = places[None].to(self.positions.dtype) * 2 - 1  # grid_sample's: -1 to 1 across the image
        learnt = F.grid_sample(self.positions, frame, padding_mode="border", align_corners=False)
        return self.places(places * grids[:, None]) + learnt[0].permute(1, 2, 0)

    def _size_embedding(self, sizes: Tensor) -> Tensor:
        """(N, dim), of sizes in pixels."""
        return self.size(self.sizes(sizes.clamp(min=1).log2()))


class _Alike(NamedTuple):
    """Images with as many tokens.

    Attributes:
        images: their indices.
        rows: (n,) int64, the crops in them.
        index: (n,) int64, the image of each of these crops among `images`.
    """

    images: list[int]
    rows: Tensor
    index: Tensor


def _alike(images: Sequence[GlobalTokens], index: Tensor) -> list[_Alike]:
    """Group images by their number of tokens."""
    by_count: dict[int, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        by_count[math.prod(image.grid)].append(number)
    if len(by_count) == 1:
        return [_Alike(list(range(len(images))), torch.arange(len(index), device=index.device), index)]
    groups = []
    for numbers in by_count.values():
        among = torch.full((len(images),), -1, device=index.device)
        among[numbers] = torch.arange(len(numbers), device=index.device)
        rows = (among[index] >= 0).nonzero()[:, 0]
        groups.append(_Alike(numbers, rows, among[index[rows]]))
    return groups


def _tokens(patches: nn.Conv2d, images: Tensor) -> Tensor:
    """Embed the patches of (N, C, H, W) images: (N, tokens, dim). On a CPU 1.4 times as fast as a convolution."""
    side = patches.kernel_size[0]
    rows = images.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    return F.linear(rows, patches.weight.flatten(1), patches.bias)
