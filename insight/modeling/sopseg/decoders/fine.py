"""Our decoder: SOPSeg's, with the box drawn into the refinement, finer features and no layer at full resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insight.modeling.sopseg.box_maps import CHANNELS as BOX_CHANNELS
from insight.modeling.sopseg.box_maps import box_maps

from .edge import EdgeDecoder
from .prediction import DecoderInput
from .refinement import IMAGE_CHANNELS, MAPS, FeatureReduction, IoUHead, RefinementBlock, zero_conv

FINE_WIDTHS = (32, 64)  # channels to which the encoder's features at 1/4 and 1/8 are reduced


class FineDecoder(EdgeDecoder):
    """SOPSeg's decoder with another refinement; ours, not the paper's.

    Args:
        shallow_channels: channels of the encoder's shallow features.
        dim: channels of a token.
        fine_channels: channels of the encoder's features at 1/4 and 1/8; empty if it has none.
    """

    def __init__(self, shallow_channels: int, dim: int = 256, fine_channels: tuple[int, ...] = ()) -> None:
        self._fine_channels = fine_channels
        super().__init__(shallow_channels, dim)

    def build_refinement(self, shallow_channels: int, dim: int) -> nn.Module:
        """Build the refinement."""
        return FineRefinement(shallow_channels, dim, self._fine_channels)


class FineRefinement(nn.Module):
    """Refinement from 1/8 of the crop's resolution to its own, with the layers of the last step at 1/2.

    It differs from `ProgressiveRefinement` in three ways. Each step sees the prompt's box (`box_maps`), and so where an
    object ends along its own axes. The first two steps see the encoder's features at 1/8 and 1/4. The last step works
    at 1/2, with the pixels of each 2 x 2 block as channels, and predicts the four pixels of a block at once: it reads
    and writes the same pixels without a feature map at full resolution, which costs most of the time.

    Args:
        shallow_channels: channels of F_s.
        deep_channels: channels of F_d.
        fine_channels: channels of the encoder's features at 1/4 and 1/8, or empty.
        feature_width: channels to which F_s and F_d are each reduced at 1/8.
        widths: channels of the three steps.
    """

    def __init__(
        self,
        shallow_channels: int,
        deep_channels: int,
        fine_channels: tuple[int, ...],
        feature_width: int = 64,
        widths: tuple[int, int, int] = (64, 32, 24),
    ) -> None:
        super().__init__()
        self.reduce_shallow = FeatureReduction(shallow_channels, feature_width)
        self.reduce_deep = FeatureReduction(deep_channels, feature_width)
        quarter, eighth = FINE_WIDTHS if fine_channels else (0, 0)
        self.reduce_fine = nn.ModuleList(
            nn.Conv2d(channels, width, kernel_size=1) for channels, width in zip(fine_channels, FINE_WIDTHS)
        )
        prompted = MAPS + BOX_CHANNELS
        self.blocks = nn.ModuleList(
            [
                RefinementBlock(2 * feature_width + eighth + IMAGE_CHANNELS + prompted, widths[0]),
                RefinementBlock(widths[0] + quarter + IMAGE_CHANNELS + prompted, widths[1]),
                RefinementBlock(widths[1] + 4 * IMAGE_CHANNELS + prompted, widths[2], doubles=False),
            ]
        )
        self.heads = nn.ModuleList(zero_conv(width, MAPS) for width in widths[:2])
        self.subpixel_head = zero_conv(widths[2], 4 * MAPS)
        self.iou_head = IoUHead(widths[2])

    def forward(self, inputs: DecoderInput, deep: Tensor, initial: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """Refine the masks and edges of N prompts.

        Args:
            inputs: crops of H x W, their features and the prompts.
            deep: (N, deep_channels, H / 16, W / 16) F_d.
            initial: (N, 2, H / 4, W / 4) P_0, logits of mask and edge.

        Returns:
            P_4, P_2 and P_1 by their scale i, logits (N, 2, H / i, W / i), and the predicted IoU (N,).
        """
        quarter, eighth = self._fine(inputs)
        x = [inputs.of_prompt(self.reduce_shallow(inputs.features.shallow)), self.reduce_deep(deep), *eighth]
        x = self._step(0, x, inputs, F.avg_pool2d(initial.sigmoid(), 2))
        stages = {4: _refined(initial, self.heads[0](x))}
        x = self._step(1, [x, *quarter], inputs, stages[4].sigmoid())
        stages[2] = _refined(stages[4], self.heads[1](x))
        x = self._step(2, [x], inputs, stages[2].sigmoid())
        stages[1] = _refined(stages[2], F.pixel_shuffle(self.subpixel_head(x), 2))
        return stages, self.iou_head(x)

    def _fine(self, inputs: DecoderInput) -> tuple[list[Tensor], list[Tensor]]:
        reduced = [[inputs.of_prompt(reduce(x))] for reduce, x in zip(self.reduce_fine, inputs.features.fine)]
        return (reduced[0], reduced[1]) if reduced else ([], [])

    def _step(self, index: int, x: list[Tensor], inputs: DecoderInput, seen: Tensor) -> Tensor:
        scale = (8, 4, 2)[index]
        image = F.avg_pool2d(inputs.crops, scale) if scale > 2 else _blocks_as_channels(inputs.crops)
        boxes = box_maps(inputs.prompts, inputs.crops.shape[2:], scale).to(seen.dtype)
        x = torch.cat([*x, inputs.of_prompt(image), seen, boxes], 1)
        return self.blocks[index](x.contiguous(memory_format=torch.channels_last))


def _blocks_as_channels(x: Tensor) -> Tensor:
    """`F.pixel_unshuffle` by 2, which leaves the size of an empty batch as it is."""
    n, channels, height, width = x.shape
    blocks = x.reshape(n, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return blocks.reshape(n, 4 * channels, height // 2, width // 2)


def _refined(previous: Tensor, found: Tensor) -> Tensor:
    """The previous mask plus a correction, and edges that are predicted from scratch."""
    mask, edge = found.chunk(MAPS, 1)
    previous = F.interpolate(previous[:, :1], found.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([previous + mask, edge], 1)
