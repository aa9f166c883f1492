"""TinyViT as MobileSAM's image encoder (ViT-T): any input size, windowed attention without padding."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from insight.modeling.sopseg.derived import DerivedTensors
from insight.modeling.sopseg.layers import neck

from .features import ImageFeatures, check_images
from .windows import attend_windows

DIMS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
NUM_HEADS = (None, 4, 5, 10)  # stage 0 is convolutional
WINDOWS = (None, 7, 14, 7)
STRIDES = (2, 2, 1)  # of the downsampling after stages 0, 1 and 2; MobileSAM keeps stage 3 at 1/16
UNUSED = ("head.", "norm_head.")  # the ImageNet classifier, which MobileSAM's checkpoint includes


class TinyViTEncoder(nn.Module):
    """TinyViT-5M with SAM's neck. The state dict is that of MobileSAM's `vit_t` without its unused classifier.

    Batch normalisation always uses its stored statistics.

    Args:
        out_channels: channels of the image embedding.

    Source: Zhang et al. 2023, Faster Segment Anything (MobileSAM); Wu et al. 2022, TinyViT.
    """

    def __init__(self, out_channels: int = 256) -> None:
        super().__init__()
        self.shallow_channels = DIMS[2]
        self.fine_channels = DIMS[:2]
        self.global_heads = 0  # all attention is windowed
        self.patch_embed = PatchEmbed(DIMS[0])
        self.layers = nn.ModuleList(Stage(i) for i in range(len(DIMS)))
        self.neck = neck(DIMS[-1], out_channels)
        self.register_load_state_dict_pre_hook(_drop_classifier)

    @property
    def stages(self) -> nn.ModuleList:
        """The stages in order; the last ones can be trained alone."""
        return self.layers

    def forward(self, images: Tensor) -> ImageFeatures:
        """Encode a batch of crops.

        Args:
            images: (B, 3, H, W) float, normalised RGB; H and W multiples of 64 up to 1024.

        Returns:
            The image embedding; as shallow feature, the first one at 1/16, the input of stage 2 (as in HQ-SAM); as fine
            features, what the blocks of stages 0 and 1 return.

        Raises:
            InputError: images of another dtype or shape.
        """
        check_images(images)
        quarter = self.layers[0].run_blocks(self.patch_embed(images))
        eighth = self.layers[1].run_blocks(self.layers[0].downsample(quarter))
        x = shallow = self.layers[1].downsample(eighth)
        x = self.layers[2](x)
        x = self.layers[3](x)
        return ImageFeatures(self.neck(x), shallow, (quarter, eighth))


def _drop_classifier(module: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    for name in [n for n in state_dict if n.startswith(tuple(prefix + unused for unused in UNUSED))]:
        del state_dict[name]


class FixedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with its stored statistics, in training too."""

    def train(self, mode: bool = True) -> "FixedBatchNorm2d":
        return super().train(False)


class ConvBN(nn.Sequential):
    """Convolution and batch normalisation, named c and bn."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(in_dim, out_dim, kernel, stride, kernel // 2, groups=groups, bias=False))
        self.add_module("bn", FixedBatchNorm2d(out_dim).eval())


class PatchEmbed(nn.Module):
    """Two strided convolutions: pixels to features at 1/4."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvBN(3, dim // 2, 3, stride=2), nn.GELU(), ConvBN(dim // 2, dim, 3, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)


class Stage(nn.Module):
    """Blocks at one resolution, then the downsampling to the next stage."""

    def __init__(self, index: int) -> None:
        super().__init__()
        dim, heads, window = DIMS[index], NUM_HEADS[index], WINDOWS[index]
        self.blocks = nn.ModuleList(
            MBConv(dim) if heads is None else TinyViTBlock(dim, heads, window) for _ in range(DEPTHS[index])
        )
        last = index == len(DIMS) - 1
        self.downsample = nn.Identity() if last else PatchMerging(dim, DIMS[index + 1], STRIDES[index])

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.run_blocks(x))

    def run_blocks(self, x: Tensor) -> Tensor:
        """Run the blocks without the downsampling."""
        for block in self.blocks:
            x = block(x)
        return x


class MBConv(nn.Module):
    """Inverted residual block of MobileNetV2."""

    def __init__(self, dim: int, expansion: int = 4) -> None:
        super().__init__()
        self.conv1 = ConvBN(dim, expansion * dim)
        self.conv2 = ConvBN(expansion * dim, expansion * dim, 3, groups=expansion * dim)
        self.conv3 = ConvBN(expansion * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class PatchMerging(nn.Module):
    """Downsampling between stages: more channels and, with stride 2, half the resolution."""

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(dim, out_dim)
        self.conv2 = ConvBN(out_dim, out_dim, 3, stride=stride, groups=out_dim)
        self.conv3 = ConvBN(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class TinyViTBlock(nn.Module):
    """Windowed attention, a depth-wise convolution and an MLP."""

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(dim, num_heads, window)
        self.mlp = NormMLP(dim, 4 * dim)
        self.local_conv = ConvBN(dim, dim, 3, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)
        x = (tokens + self.attn(tokens)).permute(0, 3, 1, 2)
        tokens = self.local_conv(x).permute(0, 2, 3, 1)
        return (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)


class NormMLP(nn.Module):
    """Layer normalisation and a two-layer MLP."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class WindowAttention(nn.Module):
    """Attention within windows, with a learned bias per head and distance (|dy|, |dx|)."""

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window * window))
        self._derived = DerivedTensors()

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(attend_windows(self.qkv(self.norm(x)), self.window, self._attend))

    def _attend(self, qkv: Tensor) -> Tensor:
        """Attention within each of M equal windows: (M, h, w, 3 C) -> (M, h, w, C)."""
        m, h, w, channels = qkv.shape
        heads, head_dim = self.num_heads, channels // 3 // self.num_heads
        q, k, v = qkv.reshape(m, h * w, heads, 3, head_dim).permute(3, 0, 2, 1, 4)  # each (M, heads, h w, head_dim)
        bias = self._derived.get(self.attention_biases, (h, w), lambda table: _window_bias(table, self.window, h, w))
        if h * w < self.window**2:
            # TinyViT pads with zeros before the norm, which turns them into the norm's bias.
            padding = F.linear(self.norm.bias, self.qkv.weight, self.qkv.bias).to(k.dtype)
            _, pad_k, pad_v = padding.reshape(heads, 3, 1, head_dim).transpose(0, 1)[:, None].expand(-1, m, -1, -1, -1)
            k, v = torch.cat([k, pad_k], 2), torch.cat([v, pad_v], 2)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return out.transpose(1, 2).reshape(m, h, w, heads * head_dim)


def _window_bias(table: Tensor, window: int, h: int, w: int) -> Tensor:
    """(heads, h w, h w) bias of a window; if it is cut, (heads, h w, h w + 1), the last for one key of all padding."""
    offsets = torch.arange(window, device=table.device)
    distance = (offsets[:, None] - offsets[None, :]).abs()
    index = distance[:h, None, :, None] * window + distance[None, :w, None, :]  # query y, x; key y, x
    bias = table[:, index].reshape(len(table), h * w, window, window)
    real = bias[..., :h, :w].flatten(2)
    if (h, w) == (window, window):
        return real
    beyond = torch.cat([bias[..., h:, :].flatten(2), bias[..., :h, w:].flatten(2)], -1)
    return torch.cat([real, beyond.logsumexp(-1, keepdim=True)], -1)
