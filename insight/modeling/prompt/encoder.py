"""The prompt encoder: the images of a batch encoded once, then any number of boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from insight import ops

from .global_to_local import GlobalToLocalPrompt
from .local import LocalPrompt

if TYPE_CHECKING:
    from detectron2.config import CfgNode


class RegionPromptEncoder(nn.Module):
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
            raise ValueError("RegionPromptEncoder needs a local or a global-to-local prompt module, both are None")
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
    def from_config(cls, cfg: CfgNode) -> RegionPromptEncoder | None:
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


@dataclass(frozen=True)
class PromptContext:
    """The encoded images of a batch, ready to answer boxes. It travels in a feature dictionary as "prompt".

    Args:
        encoder: the prompt encoder that made it and that encodes boxes.
        images: per image (C, H, W), uint8 or float, at full resolution, values as the dataset gives them.
        sizes: per image (height, width) of the network's input without padding, pixels: the frame of the boxes.
        global_tokens: a tensor (B, G, D) for each loop of the global-to-local module; empty where that is off.
    """

    encoder: RegionPromptEncoder
    images: list[Tensor]
    sizes: list[tuple[int, int]]
    global_tokens: tuple[Tensor, ...] = ()

    def encode(self, boxes: list[Tensor]) -> list[Tensor]:
        """Encode boxes as prompts.

        Args:
            boxes: per image (N_i, 4) XYXY in pixels of the network's input.

        Returns:
            For each prompt module that is on, (N, D, h, w), N = sum of N_i: a grid of tokens over each box.
        """
        return self.encoder(self, boxes)

    def crops(self, boxes: list[Tensor], size: int, mean: Tensor, std: Tensor) -> Tensor:
        """Cut each box from its full-resolution image.

        Args:
            boxes: per image (N_i, 4) XYXY in pixels of the network's input.
            size: side of the crops, pixels.
            mean, std: (C,), taken off and divided by in the same pass.

        Returns:
            (N, C, size, size) float; what lies outside the image is 0, the mean.
        """
        crops = []
        # One call an image: full-resolution images differ in size, and stacking them would copy every one.
        for image, (height, width), image_boxes in zip(self.images, self.sizes, boxes, strict=True):
            scale = image_boxes.new_tensor([image.shape[-1] / width, image.shape[-2] / height] * 2)
            crops.append(ops.crop_resize(image[None], image_boxes * scale, size, mean=mean, std=std))
        return torch.cat(crops) if len(crops) > 1 else crops[0]  # of one tensor, cat is a copy

    def relative(self, boxes: list[Tensor]) -> Tensor:
        """Boxes as fractions of their image.

        Args:
            boxes: per image (N_i, 4) XYXY in pixels of the network's input.

        Returns:
            (N, 4) XYXY, 0 to 1 within the image.
        """
        return torch.cat(
            [b / b.new_tensor([width, height, width, height]) for b, (height, width) in zip(boxes, self.sizes)]
        )

    def image_index(self, boxes: list[Tensor]) -> Tensor:
        """Which image each box belongs to.

        Args:
            boxes: per image (N_i, 4).

        Returns:
            (N,) int64.
        """
        counts = torch.tensor([len(b) for b in boxes], device=boxes[0].device)
        return torch.repeat_interleave(counts, output_size=sum(len(b) for b in boxes))
