"""The prompt encoder: images once, then boxes as often as wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .context import PromptContext
from .global_to_local import GlobalToLocalPrompt
from .local import LocalPrompt

if TYPE_CHECKING:
    from detectron2.config import CfgNode


class PromptEncoder(nn.Module):
    """Encodes boxes as prompts by LPM and GPM. One encoder serves every branch of a model.

    Source: Insight Any Instance, section III-B and Figure 4.

    Args:
        crop_size: side of the crop around each box, pixels (S_ps of the paper).
        pixel_mean, pixel_std: (C,) of the values of the images.
        local: the local prompt module, or None.
        global_to_local: the global-to-local prompt module, or None.

    Raises:
        ValueError: if both modules are None, the mean and std differ in length, or a std is not above 0.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        pixel_mean: list[float],
        pixel_std: list[float],
        local: LocalPrompt | None,
        global_to_local: GlobalToLocalPrompt | None,
    ):
        super().__init__()
        if local is None and global_to_local is None:
            raise ValueError("PromptEncoder needs a local or a global-to-local prompt module, both are None")
        if len(pixel_mean) != len(pixel_std):
            raise ValueError(
                f"MODEL.PROMPT.PIXEL_STD has {len(pixel_std)} channels, MODEL.PIXEL_MEAN has {len(pixel_mean)}"
            )
        if not all(value > 0 for value in pixel_std):
            raise ValueError(f"MODEL.PROMPT.PIXEL_STD must hold values above 0, got std {list(pixel_std)}")
        self.crop_size = crop_size
        self.local = local
        self.global_to_local = global_to_local
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> PromptEncoder | None:
        """Build what MODEL.PROMPT asks for.

        Args:
            cfg: a config with insight's keys.

        Returns:
            The encoder, or None where both LPM and GPM are off.
        """
        prompt = cfg.MODEL.PROMPT
        if not (prompt.LPM.ENABLED or prompt.GPM.ENABLED):
            return None
        channels = len(cfg.MODEL.PIXEL_MEAN)
        local = global_to_local = None
        if prompt.LPM.ENABLED:
            local = LocalPrompt(
                in_channels=channels,
                crop_size=prompt.CROP_SIZE,
                dim=prompt.LPM.DIM,
                patch_size=prompt.LPM.PATCH_SIZE,
                stride=prompt.LPM.STRIDE,
            )
        if prompt.GPM.ENABLED:
            global_to_local = GlobalToLocalPrompt(
                in_channels=channels,
                crop_size=prompt.CROP_SIZE,
                dim=prompt.GPM.DIM,
                num_heads=prompt.GPM.NUM_HEADS,
                depth=prompt.GPM.DEPTH,
                global_patch=prompt.GPM.GLOBAL_PATCH,
                local_patch=prompt.GPM.LOCAL_PATCH,
            )
        return cls(
            crop_size=prompt.CROP_SIZE,
            pixel_mean=cfg.MODEL.PIXEL_MEAN,
            pixel_std=prompt.PIXEL_STD,
            local=local,
            global_to_local=global_to_local,
        )

    @property
    def prompt_channels(self) -> list[int]:
        """Channels of each prompt that `forward` returns."""
        return [module.out_channels for module in (self.local, self.global_to_local) if module is not None]

    def encode_images(self, images: list[Tensor], sizes: list[tuple[int, int]]) -> PromptContext:
        """Encode the images of a batch: all that does not depend on a box.

        Args:
            images: per image (C, H, W), uint8 or float, at full resolution.
            sizes: per image (height, width) of the network's input without padding, pixels.

        Returns:
            The context from which boxes are encoded.
        """
        tokens = ()
        if self.global_to_local is not None:
            tokens = self.global_to_local.encode_images(images, sizes, self.pixel_mean, self.pixel_std)
        return PromptContext(self, images, sizes, tokens)

    def forward(self, context: PromptContext, boxes: list[Tensor]) -> list[Tensor]:
        """Encode boxes as prompts.

        Args:
            context: of `encode_images`.
            boxes: per image (N_i, 4) XYXY in pixels of the network's input.

        Returns:
            For each module that is on, (N, D, h, w), N = sum of N_i: a grid of tokens over each box.
        """
        crops = context.crops(boxes, self.crop_size, self.pixel_mean, self.pixel_std)
        prompts = []
        if self.local is not None:
            prompts.append(self.local(crops))
        if self.global_to_local is not None:
            prompts.append(
                self.global_to_local(crops, context.relative(boxes), context.global_tokens, context.image_index(boxes))
            )
        return prompts
