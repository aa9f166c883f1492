"""The prompt encoder: encodes the images of a batch once, then any number of boxes in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from insight import ops
from insight.errors import InputError

from .global_to_local import GlobalToLocalPrompt
from .local import LocalPrompt

if TYPE_CHECKING:
    from detectron2.config import CfgNode


class RegionPromptEncoder(nn.Module):
    """Encodes boxes as prompts by LPM and GPM. One encoder serves all branches of a model.

    Source: Insight Any Instance, section III-B and Figure 4.

    Args:
        crop_size: side of the crop of each box, pixels (S_ps of the paper).
        pixel_mean, pixel_std: mean and standard deviation of the images' values, one per channel.
        local: the local prompt module, or None.
        global_to_local: the global-to-local prompt module, or None.

    Raises:
        InputError: both modules are None, mean and std differ in length, or a std is not above 0.
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
            raise InputError("RegionPromptEncoder: expected a local or a global-to-local prompt module, got neither")
        if len(pixel_mean) != len(pixel_std):
            raise InputError(
                f"MODEL.PROMPT.PIXEL_STD has {len(pixel_std)} channels, MODEL.PIXEL_MEAN has {len(pixel_mean)}"
            )
        if not all(value > 0 for value in pixel_std):
            raise InputError(f"MODEL.PROMPT.PIXEL_STD: expected values above 0, got {list(pixel_std)}")
        self.crop_size = crop_size
        self.local = local
        self.global_to_local = global_to_local
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> RegionPromptEncoder | None:
        """Build the encoder of MODEL.PROMPT.

        Args:
            cfg: a config with insight's keys.

        Returns:
            The encoder, or None if both LPM and GPM are off.
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
        """Encode the images of a batch: everything that does not depend on a box.

        Args:
            images: per image (C, H, W), uint8 or float, at full resolution.
            sizes: per image (height, width) of the network's input without padding, pixels.

        Returns:
            The context that boxes are encoded in.
        """
        tokens = ()
        if self.global_to_local is not None:
            tokens = self.global_to_local.encode_images(images, sizes, self.pixel_mean, self.pixel_std)
        return PromptContext(self, images, sizes, tokens)

    def forward(self, context: PromptContext, boxes: list[Tensor]) -> list[Tensor]:
        """Encode boxes as prompts.

        Args:
            context: the output of `encode_images`.
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.

        Returns:
            Per prompt module, (N, D, h, w), N = sum of N_i: a grid of tokens over each box.
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
    """The encoded images of a batch, in which boxes can be encoded. A feature dictionary holds it as "prompt".

    Args:
        encoder: the prompt encoder that made it.
        images: per image (C, H, W), uint8 or float, at full resolution, not normalised.
        sizes: per image (height, width) of the network's input without padding, pixels: the frame of the boxes.
        global_tokens: (B, G, D) for each loop of the global-to-local module; empty without it.
    """

    encoder: RegionPromptEncoder
    images: list[Tensor]
    sizes: list[tuple[int, int]]
    global_tokens: tuple[Tensor, ...] = ()

    def encode(self, boxes: list[Tensor]) -> list[Tensor]:
        """Encode boxes as prompts; see `RegionPromptEncoder.forward`.

        Args:
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.

        Returns:
            Per prompt module, (N, D, h, w), N = sum of N_i: a grid of tokens over each box.
        """
        return self.encoder(self, boxes)

    def crops(self, boxes: list[Tensor], size: int, mean: Tensor, std: Tensor) -> Tensor:
        """Cut each box out of its full-resolution image and resize it.

        Args:
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.
            size: side of the crops, pixels.
            mean, std: (C,), with which the crops are normalised.

        Returns:
            (N, C, size, size) float, N = sum of N_i; 0, which is the mean, outside the image.
        """
        crops = []
        # One call per image: full-resolution images differ in size, and stacking them would copy each one.
        for image, (height, width), image_boxes in zip(self.images, self.sizes, boxes, strict=True):
            scale = image_boxes.new_tensor([image.shape[-1] / width, image.shape[-2] / height] * 2)
            crops.append(ops.crop_resize(image[None], image_boxes * scale, size, mean=mean, std=std))
        return torch.cat(crops) if len(crops) > 1 else crops[0]  # cat would copy a single tensor

    def relative(self, boxes: list[Tensor]) -> Tensor:
        """Express boxes as fractions of their image.

        Args:
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.

        Returns:
            (N, 4) float XYXY, N = sum of N_i; 0 to 1 within the image.
        """
        return torch.cat(
            [b / b.new_tensor([width, height, width, height]) for b, (height, width) in zip(boxes, self.sizes)]
        )

    def image_index(self, boxes: list[Tensor]) -> Tensor:
        """Return the index of the image of each box.

        Args:
            boxes: per image (N_i, 4).

        Returns:
            (N,) int64.
        """
        counts = torch.tensor([len(b) for b in boxes], device=boxes[0].device)
        return torch.repeat_interleave(counts, output_size=sum(len(b) for b in boxes))
