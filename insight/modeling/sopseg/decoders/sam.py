"""SAM's mask decoder, the base class of the others."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from insight.modeling.sopseg.layers import MLP, upscaling

from .prediction import DecoderInput, MaskPrediction, resize_logits
from .two_way import TwoWayTransformer


class AttendedTokens(NamedTuple):
    """The output of the two-way transformer.

    Attributes:
        iou: (N, C), the IoU token.
        masks: (N, 4, C), the mask tokens.
        extra: (N, K, C), a subclass's tokens.
        image: (N, C, h, w), the image tokens: F_d of SOPSeg.
    """

    iou: Tensor
    masks: Tensor
    extra: Tensor
    image: Tensor


class SAMDecoder(nn.Module):
    """Mask decoder with the state dict and output of segment-anything's `MaskDecoder`.

    The three masks of `multimask`, which no loss supervises, are frozen: DistributedDataParallel would wait for their
    gradients.

    Args:
        shallow_channels: channels of the encoder's shallow features; unused.
        dim: channels of a token.

    Source: Kirillov et al. 2023, Segment Anything, appendix A.
    """

    NUM_MASKS = 4  # one for unambiguous prompts, three for a single point
    FROM_SCRATCH: tuple[str, ...] = ()  # submodules without weights in SAM's checkpoints

    def __init__(self, shallow_channels: int, dim: int = 256) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(depth=2, dim=dim, num_heads=8, mlp_dim=2048)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(self.NUM_MASKS, dim)
        self.output_upscaling = upscaling(dim)
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(dim, dim, dim // 8, depth=3) for _ in range(self.NUM_MASKS))
        self.iou_prediction_head = MLP(dim, 256, self.NUM_MASKS, depth=3)
        self.output_hypernetworks_mlps[1:].requires_grad_(False)

    def forward(self, inputs: DecoderInput) -> MaskPrediction:
        """Predict one mask for each prompt.

        Args:
            inputs: crops, features and prompts.

        Returns:
            SAM's first mask, resized bilinearly to the crop.
        """
        tokens = self.attend(inputs)
        mask = self.low_res_masks(tokens, [0])
        iou = self.iou_prediction_head(tokens.iou)[:, 0]
        return MaskPrediction(resize_logits(mask, inputs.crops), None, iou, {4: mask})

    def multimask(self, inputs: DecoderInput) -> tuple[Tensor, Tensor]:
        """Predict SAM's three masks for an ambiguous prompt (whole, part, subpart).

        Args:
            inputs: crops, features and prompts.

        Returns:
            Mask logits (N, 3, H / 4, W / 4) and their predicted IoU (N, 3).
        """
        tokens = self.attend(inputs)
        masks = self.low_res_masks(tokens, list(range(1, self.NUM_MASKS)))
        return masks, self.iou_prediction_head(tokens.iou)[:, 1:]

    def attend(self, inputs: DecoderInput, extra_tokens: Tensor | None = None) -> AttendedTokens:
        """Run the transformer on output tokens, prompts and image.

        Args:
            inputs: crops, features and prompts.
            extra_tokens: (K, C) a subclass's output tokens, which follow SAM's own.

        Returns:
            The tokens after the transformer.
        """
        output_tokens = [self.iou_token.weight, self.mask_tokens.weight]
        if extra_tokens is not None:
            output_tokens.append(extra_tokens)
        output_tokens = torch.cat(output_tokens)
        num_prompts, num_output = inputs.sparse.shape[0], output_tokens.shape[0]
        tokens = torch.cat([output_tokens.expand(num_prompts, -1, -1), inputs.sparse], 1)

        image = inputs.of_prompt(inputs.features.embedding) + inputs.dense
        image_pe = inputs.image_pe.to(image.dtype).flatten(2).transpose(1, 2)
        tokens, attended = self.transformer(image.flatten(2).transpose(1, 2), image_pe, tokens)
        return AttendedTokens(
            iou=tokens[:, 0],
            masks=tokens[:, 1 : 1 + self.NUM_MASKS],
            extra=tokens[:, 1 + self.NUM_MASKS : num_output],
            image=attended.transpose(1, 2).reshape(image.shape),
        )

    def low_res_masks(self, tokens: AttendedTokens, which: list[int]) -> Tensor:
        """Compute the mask logits of some mask tokens.

        Args:
            tokens: the output of `attend`.
            which: indices of the mask tokens.

        Returns:
            (N, len(which), 4 h, 4 w) logits at a quarter of the crop's resolution.
        """
        weights = torch.stack([self.output_hypernetworks_mlps[i](tokens.masks[:, i]) for i in which], 1)
        return dynamic_masks(weights, self.output_upscaling(tokens.image))


def dynamic_masks(weights: Tensor, features: Tensor) -> Tensor:
    """Compute masks as products of token vectors and pixel features.

    Args:
        weights: (N, K, D).
        features: (N, D, h, w).

    Returns:
        (N, K, h, w).
    """
    return (weights @ features.flatten(2)).unflatten(2, features.shape[2:])
