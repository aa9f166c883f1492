"""A decoder in the style of Matting Anything: SAM's mask refined with the image from 1/16 to full resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insight.modeling.sopseg.layers import LayerNorm2d

from .prediction import DecoderInput, MaskPrediction, resize_logits
from .sam import SAMDecoder

GUIDANCE = 4  # channels that are concatenated to the features of each stage: the image and SAM's mask


class MattingDecoder(SAMDecoder):
    """SAM's decoder followed by Matting Anything's mask-to-matte head.

    Differences from the original: layer normalisation instead of spectral and batch normalisation, as in the other
    decoders here; SAM's mask as a probability; and logits instead of (tanh + 1) / 2, which is the sigmoid of twice its
    argument.

    Args:
        shallow_channels: channels of the encoder's shallow features; unused.
        dim: channels of a token.

    Source: Li et al. 2024, Matting Anything; sizes of its `sam_decoder_deep`.
    """

    FROM_SCRATCH = ("refine_8", "refine_4", "refine_2", "refine_1", "head_8", "head_4", "head_1")

    def __init__(self, shallow_channels: int, dim: int = 256) -> None:
        super().__init__(shallow_channels, dim)
        widths = (128, 64, 32)  # at 1/8, 1/4, 1/2
        self.refine_8 = _stage(dim, widths[0], blocks=3)
        self.refine_4 = _stage(widths[0], widths[1], blocks=3)
        self.refine_2 = _stage(widths[1], widths[2], blocks=2)
        self.refine_1 = nn.Sequential(_enlarge(widths[2], 32), LayerNorm2d(32), nn.LeakyReLU(0.2))
        self.head_8 = _head(widths[0])
        self.head_4 = _head(widths[1])
        self.head_1 = _head(32)

    def forward(self, inputs: DecoderInput) -> MaskPrediction:
        """Predict one mask for each prompt.

        Args:
            inputs: crops, features and prompts.

        Returns:
            The mask at the crop's resolution, with SAM's predicted IoU; stages at 1/8, 1/4 and 1/1.
        """
        tokens = self.attend(inputs)
        coarse = self.low_res_masks(tokens, [0]).sigmoid()
        guidance = torch.cat([inputs.of_prompt(inputs.crops), resize_logits(coarse, inputs.crops)], 1)

        x8 = self.refine_8(_with_guidance(inputs.of_prompt(inputs.features.embedding), guidance))
        x4 = self.refine_4(_with_guidance(x8, guidance))
        x2 = self.refine_2(_with_guidance(x4, guidance))
        mask = self.head_1(self.refine_1(x2))
        iou = self.iou_prediction_head(tokens.iou)[:, 0]
        return MaskPrediction(mask, None, iou, {8: self.head_8(x8), 4: self.head_4(x4), 1: mask})


def _with_guidance(x: Tensor, guidance: Tensor) -> Tensor:
    return torch.cat([x, F.interpolate(guidance, x.shape[2:], mode="bilinear", align_corners=False)], 1)


def _enlarge(in_channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1, bias=False)


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(32),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 1, kernel_size=3, padding=1),
    )


def _stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    first = _Block(in_channels + GUIDANCE, out_channels, enlarge=True)
    return nn.Sequential(first, *(_Block(out_channels, out_channels, enlarge=False) for _ in range(blocks - 1)))


class _Block(nn.Module):
    """Residual block; the first of a stage doubles the resolution."""

    def __init__(self, in_channels: int, out_channels: int, enlarge: bool) -> None:
        super().__init__()
        if enlarge:
            self.conv1 = _enlarge(in_channels, in_channels)
            self.skip = nn.Sequential(
                nn.UpsamplingNearest2d(scale_factor=2),
                nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),
                LayerNorm2d(out_channels),
            )
        else:
            self.conv1 = nn.Conv2d(in_channels, in_channels, kernel_size=3, padding=1, bias=False)
            self.skip = nn.Identity()
        self.norm1 = LayerNorm2d(in_channels)
        self.conv2 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = LayerNorm2d(out_channels)
        nn.init.zeros_(self.norm2.weight)  # each block starts as its skip connection

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.norm1(self.conv1(x)), 0.2)
        return F.leaky_relu(self.norm2(self.conv2(hidden)) + self.skip(x), 0.2)
