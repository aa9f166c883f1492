"""Local prompt module (LPM): the texture of an instance, from its crop at full resolution."""

import torch
from torch import Tensor, nn

from insight.errors import InputError


class SpectralFilter(nn.Module):
    """Learnable filter of the spectrum of a crop, initialised to the identity.

    The paper only says that learnable embeddings are added between the Fourier transform and its inverse. Alone they
    would add the same constant image to every instance, so the spectrum is scaled too: F -> F (1 + scale) + shift.

    Source: Insight Any Instance, section III-B1; form of the filter as in GFNet (Rao et al., 2021).

    Args:
        channels: channels of the crop.
        size: side of the crop, pixels.
    """

    def __init__(self, channels: int, size: int):
        super().__init__()
        self.size = size
        shape = (channels, size, size // 2 + 1, 2)  # the last dimension: real and imaginary part
        self.scale = nn.Parameter(torch.zeros(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, crops: Tensor) -> Tensor:
        """Filter crops.

        Args:
            crops: (N, C, size, size) float.

        Returns:
            (N, C, size, size) float32.
        """
        if len(crops) == 0:  # MKL refuses empty input; the parameters must still get a gradient
            return crops.float() + 0 * (self.scale.sum() + self.shift.sum())
        # Half precision has no FFT on the CPU, and on CUDA only for powers of two.
        with torch.autocast(crops.device.type, enabled=False):
            spectrum = torch.fft.rfft2(crops.float(), norm="ortho")
            # In channels_last these 4-D parameters do not have the memory layout of complex numbers.
            scale, shift = (torch.view_as_complex(part.float().contiguous()) for part in (self.scale, self.shift))
            spectrum = torch.addcmul(shift, spectrum, 1 + scale)  # one pass over the largest tensor here
            return torch.fft.irfft2(spectrum, s=(self.size, self.size), norm="ortho")


class LocalPrompt(nn.Module):
    """Local prompt module: overlapping patches of the crop and of the filtered crop, mixed by MLPs.

    Most parameters are in `instance`, an MLP that runs once per box: it reads all tokens together, and its output is
    added to each. An MLP of the same size on every token would cost as many times more as there are tokens.

    Source: Insight Any Instance, section III-B1 and Figure 5.

    Args:
        in_channels: channels of the crop.
        crop_size: side of the crop, pixels.
        dim: channels of a token of each path, and of the prompt.
        patch_size: side of a patch, pixels.
        stride: step between patches, pixels; patch_size - stride must be even and not negative.

    Raises:
        InputError: the patches do not fit the crop.
    """

    INSTANCE_RATIO = 5  # hidden channels of `instance`, as a multiple of dim

    def __init__(self, in_channels: int, crop_size: int, dim: int, patch_size: int, stride: int):
        super().__init__()
        if patch_size < stride or (patch_size - stride) % 2 or crop_size % stride:
            raise InputError(
                f"MODEL.PROMPT.LPM.PATCH_SIZE {patch_size} and STRIDE {stride} do not fit CROP_SIZE {crop_size}: the "
                "stride must divide the crop size, and the patch size must be the stride plus an even number"
            )
        # With this padding the i-th patch is centred on the i-th of crop_size / stride equal bins of the box, as the
        # bins of an RoI feature are, so that prompt and feature refer to the same place.
        padding = (patch_size - stride) // 2
        self.grid = crop_size // stride
        self.spatial_patches = nn.Conv2d(in_channels, dim, patch_size, stride, padding)
        self.filter = SpectralFilter(in_channels, crop_size)
        self.frequency_patches = nn.Conv2d(in_channels, dim, patch_size, stride, padding)
        tokens, channels, hidden = self.grid**2, 2 * dim, self.INSTANCE_RATIO * dim
        self.norm = nn.LayerNorm(channels)
        self.instance = nn.Sequential(
            nn.Flatten(),
            nn.Linear(tokens * channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, channels),
        )
        self.mlp = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, dim), nn.GELU(), nn.Linear(dim, dim))
        self.out_channels = dim

    def forward(self, crops: Tensor) -> Tensor:
        """Encode crops.

        Args:
            crops: (N, C, crop_size, crop_size) float, normalised.

        Returns:
            (N, dim, grid, grid) tokens, grid = crop_size / stride.
        """
        patches = self.spatial_patches(crops), self.frequency_patches(self.filter(crops))
        tokens = self.norm(torch.cat([x.flatten(2).transpose(1, 2) for x in patches], dim=2))  # (N, grid^2, 2 dim)
        tokens = tokens + self.instance(tokens)[:, None]
        tokens = self.mlp(tokens)
        return tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))
