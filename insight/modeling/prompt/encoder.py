"""The prompt encoder: encodes the images of a batch once, then any number of boxes in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from insight import ops
from insight.errors import InputError
from insight.structures.context_windows import ContextWindows, locate_in_windows

from .constant import ConstantPrompt
from .global_to_local import GlobalTokens, GlobalToLocalPrompt
from .local import LocalPrompt

if TYPE_CHECKING:
    from detectron2.config import CfgNode


class RegionPromptEncoder(nn.Module):
    """Encodes boxes as prompts by LPM, GPM or a learnt constant. One encoder serves all branches of a model.

    Source: Insight Any Instance, section III-B and Figure 4.

    Args:
        crop_size: side of the crop of each box, pixels (S_ps of the paper).
        pixel_mean, pixel_std: mean and standard deviation of the images' values, one per channel.
        local: the local prompt module, or None.
        global_to_local: the global-to-local prompt module, or None.
        constant: a learnt constant as a prompt, or None.
        backbone_feature: name of the feature map that the global-to-local module reads; empty for none.

    Raises:
        InputError: all modules are None, mean and std differ in length, or a std is not above 0.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        pixel_mean: list[float],
        pixel_std: list[float],
        local: LocalPrompt | None,
        global_to_local: GlobalToLocalPrompt | None,
        constant: ConstantPrompt | None = None,
        backbone_feature: str = "",
    ):
        super().__init__()
        if local is None and global_to_local is None and constant is None:
            raise InputError("RegionPromptEncoder: expected a local, global-to-local or constant prompt, got none")
        if len(pixel_mean) != len(pixel_std):
            raise InputError(
                f"MODEL.PROMPT.PIXEL_STD has {len(pixel_std)} channels, MODEL.PIXEL_MEAN has {len(pixel_mean)}"
            )
        if not all(value > 0 for value in pixel_std):
            raise InputError(f"MODEL.PROMPT.PIXEL_STD: expected values above 0, got {list(pixel_std)}")
        self.crop_size = crop_size
        self.local = local
        self.global_to_local = global_to_local
        self.constant = constant
        self.backbone_feature = backbone_feature
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std), persistent=False)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, feature_channels: Mapping[str, int] = MappingProxyType({})
    ) -> RegionPromptEncoder | None:
        """Build the encoder of MODEL.PROMPT.

        Args:
            cfg: a config with insight's keys.
            feature_channels: channels of each feature map of the backbone.

        Returns:
            The encoder, or None if all prompts are off.

        Raises:
            InputError: the backbone has no feature map MODEL.PROMPT.GPM.BACKBONE_FEATURE, or a size does not fit.
        """
        prompt = cfg.MODEL.PROMPT
        if not (prompt.LPM.ENABLED or prompt.GPM.ENABLED or prompt.CONSTANT.ENABLED):
            return None
        channels = len(cfg.MODEL.PIXEL_MEAN)
        local = global_to_local = None
        feature = prompt.GPM.BACKBONE_FEATURE if prompt.GPM.ENABLED else ""
        if feature and feature not in feature_channels:
            raise InputError(
                f"MODEL.PROMPT.GPM.BACKBONE_FEATURE: expected one of {', '.join(feature_channels)}, the backbone's "
                f'feature maps, or "" for none, got {feature!r}'
            )
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
                max_tokens=prompt.GPM.MAX_TOKENS,
                feature_channels=feature_channels[feature] if feature else 0,
            )
        constant = ConstantPrompt(prompt.CONSTANT.DIM, prompt.CONSTANT.GRID) if prompt.CONSTANT.ENABLED else None
        return cls(
            crop_size=prompt.CROP_SIZE,
            pixel_mean=cfg.MODEL.PIXEL_MEAN,
            pixel_std=prompt.PIXEL_STD,
            local=local,
            global_to_local=global_to_local,
            constant=constant,
            backbone_feature=feature,
        )

    @property
    def reads_images(self) -> bool:
        """Whether prompts depend on the images, as a constant does not."""
        return self.local is not None or self.global_to_local is not None

    @property
    def prompt_channels(self) -> list[int]:
        """Channels of each prompt that `forward` returns."""
        modules = (self.local, self.global_to_local, self.constant)
        return [module.out_channels for module in modules if module is not None]

    def encode_images(
        self,
        images: list[Tensor],
        sizes: list[tuple[int, int]],
        feature: Tensor | None = None,
        stride: float = 1.0,
        origins: Sequence[tuple[int, int] | None] | None = None,
    ) -> PromptContext:
        """Encode the images of a batch: everything that does not depend on a box.

        Args:
            images: per image (C, H, W), uint8 or float, at full resolution.
            sizes: per image (height, width) of the network's input without padding, pixels.
            feature: (B, D, h, w) float, the map `backbone_feature` of the padded batch; required if it is set.
            stride: of `feature`, pixels of the network's input.
            origins: per image (x, y) of its corner in the scene of which it is a tile, pixels of the scene; None for a
                whole image. None: all are whole.

        Returns:
            The context that boxes are encoded in.
        """
        if self.global_to_local is None:
            return PromptContext(self, images, sizes)
        side = self.global_to_local.window
        windows = [
            ContextWindows(tuple(image.shape[-2:]), side, origin)
            for image, origin in zip(images, origins or [None] * len(images), strict=True)
        ]
        seen = [image[:, y0:y1, x0:x1] for image, own in zip(images, windows) for x0, y0, x1, y1 in own]
        features = None
        if self.backbone_feature:
            maps = zip(feature, sizes, windows, strict=True)
            features = [part for one, size, own in maps for part in own.cut(one, stride, size)]
        tokens = self.global_to_local.encode_images(seen, self.pixel_mean, self.pixel_std, features)
        return PromptContext(self, images, sizes, tokens, windows)

    def forward(self, context: PromptContext, boxes: list[Tensor]) -> list[Tensor]:
        """Encode boxes as prompts.

        Args:
            context: the output of `encode_images`.
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.

        Returns:
            Per prompt module, (N, D, h, w), N = sum of N_i: a grid of tokens over each box.
        """
        prompts = []
        if self.reads_images:
            crops = context.crops(boxes, self.crop_size, self.pixel_mean, self.pixel_std)
        if self.local is not None:
            prompts.append(self.local(crops))
        if self.global_to_local is not None:
            index, in_windows = context.in_windows(boxes)
            sizes = context.full_sizes(boxes)
            prompts.append(self.global_to_local(crops, in_windows, sizes, context.global_tokens, index))
        if self.constant is not None:
            prompts.append(self.constant(sum(len(x) for x in boxes)))
        return prompts


@dataclass(frozen=True)
class PromptContext:
    """The encoded images of a batch, in which boxes can be encoded. A feature dictionary holds it as "prompt".

    Args:
        encoder: the prompt encoder that made it.
        images: per image (C, H, W), uint8 or float, at full resolution, not normalised.
        sizes: per image (height, width) of the network's input without padding, pixels: the frame of the boxes.
        global_tokens: those of the global-to-local module, per window of the first image, of the second, and so on;
            empty without the module.
        windows: per image the windows that are context for its boxes; empty without the module.
    """

    encoder: RegionPromptEncoder
    images: list[Tensor]
    sizes: list[tuple[int, int]]
    global_tokens: Sequence[GlobalTokens] = ()
    windows: Sequence[ContextWindows] = ()

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

    def in_windows(self, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Express boxes as fractions of the windows that are their context.

        Args:
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.

        Returns:
            (N,) int64, indices into `global_tokens`, and (N, 4) float XYXY, N = sum of N_i.
        """
        return locate_in_windows(self.windows, self.relative(boxes).split([len(x) for x in boxes]))

    def full_sizes(self, boxes: list[Tensor]) -> Tensor:
        """Return the sizes of boxes in pixels of their full-resolution images.

        Args:
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.

        Returns:
            (N, 2) float, widths and heights, N = sum of N_i.
        """
        full = []
        for image, (height, width), image_boxes in zip(self.images, self.sizes, boxes, strict=True):
            scale = image_boxes.new_tensor([image.shape[-1] / width, image.shape[-2] / height])
            full.append((image_boxes[:, 2:] - image_boxes[:, :2]) * scale)
        return torch.cat(full)
