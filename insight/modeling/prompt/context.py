"""What a box prompt is computed from: the images of a batch, encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from insight import ops

if TYPE_CHECKING:
    from .encoder import PromptEncoder


@dataclass(frozen=True)
class PromptContext:
    """The encoded images of a batch, ready to answer boxes. It travels in a feature dictionary as "prompt".

    Args:
        encoder: the prompt encoder that made it and that encodes boxes.
        images: per image (C, H, W), uint8 or float, at full resolution, values as the dataset gives them.
        sizes: per image (height, width) of the network's input without padding, pixels: the frame of the boxes.
        global_tokens: a tensor (B, G, D) for each loop of the global-to-local module; empty where that is off.
    """

    encoder: PromptEncoder
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
