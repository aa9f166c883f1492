"""SOPSeg's progressive refinement: masks and edges from 1/8 of the crop's resolution up to its own."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insight.modeling.sopseg.layers import LayerNorm2d

from .prediction import DecoderInput

MAPS = 2  # mask and edge
IMAGE_CHANNELS = 3


class ProgressiveRefinement(nn.Module):
    """Refine the decoder's first masks and edges with image features and the image itself.

    Args:
        shallow_channels: channels of F_s.
        deep_channels: channels of F_d.
        feature_width: channels to which F_s and F_d are each reduced at 1/8.
        widths: channels of X_4, X_2 and X_1.

    Source: SOPSeg, Eq. 9 to 12. The widths are not in the paper; these match its cost (about 3 M parameters and
    2.2 GMACs for a crop of 256 x 256 with ViT-L). Each mask is the previous mask plus a correction that is initialised
    to zero, so that training starts from SAM's mask; edges are predicted from scratch at each scale.
    """

    def __init__(
        self,
        shallow_channels: int,
        deep_channels: int,
        feature_width: int = 192,
        widths: tuple[int, int, int] = (96, 40, 20),
    ) -> None:
        super().__init__()
        self.reduce_shallow = FeatureReduction(shallow_channels, feature_width)
        self.reduce_deep = FeatureReduction(deep_channels, feature_width)
        in_widths = (2 * feature_width, *widths[:2])
        self.blocks = nn.ModuleList(
            RefinementBlock(w_in + IMAGE_CHANNELS + MAPS, w_out) for w_in, w_out in zip(in_widths, widths)
        )
        self.heads = nn.ModuleList(zero_conv(width, MAPS) for width in widths)
        self.iou_head = IoUHead(widths[-1])

    def forward(self, inputs: DecoderInput, deep: Tensor, initial: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """Refine the masks and edges of N prompts.

        Args:
            inputs: crops of H x W, their features and the prompts.
            deep: (N, deep_channels, H / 16, W / 16) F_d.
            initial: (N, 2, H / 4, W / 4) P_0, logits of mask and edge.

        Returns:
            P_4, P_2 and P_1 by their scale i, logits (N, 2, H / i, W / i), and the predicted IoU (N,).
        """
        shallow = inputs.of_prompt(self.reduce_shallow(inputs.features.shallow))
        x = torch.cat([shallow, self.reduce_deep(deep)], 1)
        logits = initial
        seen = F.avg_pool2d(initial.sigmoid(), 2)  # P_8, the input of R_1; logits would be unbounded
        stages = {}
        for scale, block, head in zip((8, 4, 2), self.blocks, self.heads):
            image = inputs.of_prompt(F.avg_pool2d(inputs.crops, scale))
            # Channels last: normalisation is over the channels, and convolutions of so few channels are faster.
            x = block(torch.cat([x, image, seen], 1).contiguous(memory_format=torch.channels_last))
            mask, edge = head(x).chunk(2, 1)
            previous = F.interpolate(logits[:, :1], x.shape[2:], mode="bilinear", align_corners=False)
            logits = torch.cat([previous + mask, edge], 1)
            seen = logits.sigmoid()
            stages[scale // 2] = logits
        return stages, self.iou_head(x)


class FeatureReduction(nn.Module):
    """Convolution, normalisation and upsampling by two: F_16 to F_8."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm = LayerNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return _double(F.gelu(self.norm(self.conv(x))))


class RefinementBlock(nn.Module):
    """Residual block R_j: convolution, upsampling by two (if it doubles the resolution), convolution."""

    def __init__(self, in_channels: int, out_channels: int, doubles: bool = True) -> None:
        super().__init__()
        self.resize = _double if doubles else nn.Identity()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm1 = LayerNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = LayerNorm2d(out_channels)
        self.skip = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.resize(F.gelu(self.norm1(self.conv1(x))))
        return F.gelu(self.norm2(self.conv2(hidden)) + self.resize(self.skip(x)))


class IoUHead(nn.Module):
    """Prediction of a mask's IoU by convolution, ReLU, average pooling and a linear layer, Eq. 12."""

    def __init__(self, channels: int, hidden: int = 32) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden, kernel_size=3, stride=2, padding=1)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.relu(self.conv(x)).mean((2, 3)))[:, 0]


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def zero_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Build a convolution that returns zero until it is trained."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv
