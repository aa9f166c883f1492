"""SAM's prompt encoder for any input size: embeds points, boxes and masks."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from insight.errors import InputError
from insight.structures.oriented_boxes import turned_upright
from insight.structures.points import BACKGROUND, FOREGROUND, NOT_A_POINT

from .derived import DerivedTensors
from .encoders.features import STRIDE
from .layers import LayerNorm2d


class PromptEncoder(nn.Module):
    """Embeds prompts for the mask decoder.

    State dict and output are those of segment-anything's `PromptEncoder`, unless `add_angle_token` was called. The
    input size is an argument of forward, as no weight depends on it.

    Args:
        embed_dim: channels of an embedding.
        mask_channels: hidden channels of the mask branch.

    Source: Kirillov et al. 2023, Segment Anything, appendix A.
    """

    def __init__(self, embed_dim: int = 256, mask_channels: int = 16) -> None:
        super().__init__()
        self.pe_layer = PositionEncoding(embed_dim // 2)
        # background point, foreground point, upper left and lower right corner of a box
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)
        self.angle_embed: nn.Embedding | None = None

    def add_angle_token(self) -> None:
        """Let oriented boxes be embedded as three tokens: two corners of the box made horizontal, and its angle.

        Adds a learnt embedding, random until it is trained or loaded.

        Source: Zhou et al., OBSeg, arXiv 2401.08174, OBB prompt encoder.
        """
        if self.angle_embed is None:
            weight = self.no_mask_embed.weight
            self.angle_embed = nn.Embedding(1, weight.shape[1], device=weight.device, dtype=weight.dtype)

    def forward(
        self,
        image_size: tuple[int, int],
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
        corners: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed N prompts; give boxes, points with labels, or both.

        Args:
            image_size: (height, width) of the encoder's input, pixels.
            boxes: (N, 4) float XYXY, pixels of the input.
            points: (N, P, 2) float XY, pixels of the input.
            labels: (N, P) 1 foreground, 0 background, -1 no point (pads rows with fewer points).
            masks: (N, 1, H / 4, W / 4) float, logits of an earlier prediction.
            corners: (N, 4, 2) float XY, pixels of the input, of the oriented boxes that boxes and points were made
                from; with a token for angles they are embedded instead of both.

        Returns:
            Sparse embeddings (N, T, embed_dim): points before box corners, and one "no point" token if there are points
            but no boxes; corners before the angle; and dense embeddings (N, embed_dim, H / 16, W / 16).

        Raises:
            InputError: neither boxes nor points, points without labels, or shapes that do not agree.
        """
        _check_prompts(boxes, points, labels)
        tokens = []
        if self.angle_embed is not None and corners is not None:
            upright, angles = turned_upright(corners)
            tokens += [self._embed_boxes(upright, image_size), self._embed_angles(angles, self.angle_embed)]
            points = boxes = None
        if points is not None:
            tokens.append(self._embed_points(points, labels, image_size, pad=boxes is None))
        if boxes is not None:
            tokens.append(self._embed_boxes(boxes, image_size))
        sparse = torch.cat(tokens, 1).to(self.no_mask_embed.weight.dtype)

        if masks is not None:
            return sparse, self.mask_downscaling(masks)
        height, width = image_size[0] // STRIDE, image_size[1] // STRIDE
        dense = self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(sparse.shape[0], -1, height, width)
        return sparse, dense

    def dense_position_encoding(self, image_size: tuple[int, int]) -> Tensor:
        """Encode the position of every image token.

        Args:
            image_size: (height, width) of the encoder's input, pixels.

        Returns:
            (1, embed_dim, H / 16, W / 16) float32.
        """
        return self.pe_layer.grid(image_size[0] // STRIDE, image_size[1] // STRIDE)

    def _embed_points(self, points: Tensor, labels: Tensor, image_size: tuple[int, int], pad: bool) -> Tensor:
        encoding = self.pe_layer(points + 0.5, image_size)
        labels = labels[..., None]
        background, foreground = (self.point_embeddings[i].weight for i in (BACKGROUND, FOREGROUND))
        no_point = self.not_a_point_embed.weight
        encoding = torch.where(labels == NOT_A_POINT, no_point, encoding)
        encoding = torch.where(labels == BACKGROUND, encoding + background, encoding)
        encoding = torch.where(labels == FOREGROUND, encoding + foreground, encoding)
        if pad:
            encoding = torch.cat([encoding, no_point.expand(points.shape[0], 1, -1)], 1)
        return encoding

    def _embed_boxes(self, boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
        corners = self.pe_layer(boxes.reshape(-1, 2, 2) + 0.5, image_size)
        return corners + torch.cat([self.point_embeddings[2].weight, self.point_embeddings[3].weight])

    def _embed_angles(self, angles: Tensor, embedding: nn.Embedding) -> Tensor:
        position = (angles.float() + 1) / 2  # sine and cosine as a place in the unit square
        return (_fourier(self.pe_layer.positional_encoding_gaussian_matrix, position) + embedding.weight)[:, None]


class PositionEncoding(nn.Module):
    """Random Fourier features of positions.

    The matrix stays float32 whatever the model is cast to: in bfloat16 a position would be off by pixels.

    Args:
        frequencies: number of frequencies, half of the channels.
    """

    def __init__(self, frequencies: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, frequencies))
        self._derived = DerivedTensors()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PositionEncoding":
        """Move, but do not cast, the matrix."""
        matrix = self.positional_encoding_gaussian_matrix
        super()._apply(fn, recurse)
        moved = self.positional_encoding_gaussian_matrix
        if moved.dtype != matrix.dtype:
            self.positional_encoding_gaussian_matrix = matrix.to(moved.device)
        return self

    def forward(self, points: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Encode positions.

        Args:
            points: (N, P, 2) XY, pixels, pixel centres at .5.
            image_size: (height, width) in pixels.

        Returns:
            (N, P, 2 * frequencies) float32.
        """
        x, y = points.float().unbind(-1)
        position = torch.stack([x / image_size[1], y / image_size[0]], -1)
        return _fourier(self.positional_encoding_gaussian_matrix, position)

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the centres of a grid of cells.

        Args:
            height: rows.
            width: columns.

        Returns:
            (1, 2 * frequencies, height, width) float32.
        """
        matrix = self.positional_encoding_gaussian_matrix
        return self._derived.get(matrix, (height, width), lambda m: _encode_grid(m, height, width))


def _encode_grid(matrix: Tensor, height: int, width: int) -> Tensor:
    y = (torch.arange(height, device=matrix.device) + 0.5) / height
    x = (torch.arange(width, device=matrix.device) + 0.5) / width
    cells = torch.stack([x[None, :].expand(height, -1), y[:, None].expand(-1, width)], -1)
    return _fourier(matrix, cells).permute(2, 0, 1)[None]


def _fourier(matrix: Tensor, position: Tensor) -> Tensor:
    """(..., 2) positions in 0 .. 1 -> (..., 2 * frequencies)."""
    x, y = (2 * position - 1).unbind(-1)
    to_x, to_y = matrix
    phase = 2 * math.pi * (x[..., None] * to_x + y[..., None] * to_y)  # no matmul, which autocast would round
    return torch.cat([phase.sin(), phase.cos()], -1)


def _check_prompts(boxes: Tensor | None, points: Tensor | None, labels: Tensor | None) -> None:
    if boxes is None and points is None:
        raise InputError("prompts: give boxes, points with labels, or both")
    if boxes is not None and (boxes.dim() != 2 or boxes.shape[1] != 4):
        raise InputError(f"boxes: expected shape (N, 4), got {tuple(boxes.shape)}")
    if points is None:
        return
    if points.dim() != 3 or points.shape[2] != 2:
        raise InputError(f"points: expected shape (N, P, 2), got {tuple(points.shape)}")
    if labels is None or labels.shape != points.shape[:2]:
        got = "none" if labels is None else tuple(labels.shape)
        raise InputError(f"labels: expected shape {tuple(points.shape[:2])}, one for each point, got {got}")
    if boxes is not None and boxes.shape[0] != points.shape[0]:
        raise InputError(f"points: expected those of {len(boxes)} prompts as boxes, got {len(points)}")
