"""A pooler that adds prompts to RoI features, for any RoI heads of Detectron2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from insight.errors import InputError

PROJECTION_RMS = 0.4  # of what prompts of RMS 1 add to the features at first
PROMPT_FEATURE = "prompt"  # the entry of a feature dictionary that holds the PromptContext


class PromptPooler(nn.Module):
    """A pooler that adds the prompts of boxes to their RoI features.

    Each prompt is projected to the channels of the RoI feature and resized bilinearly to its grid. The projections are
    small at first, so that training starts near the model without prompts, but not zero: from zero they learn a
    constant, and the global-to-local module does not learn to look at the image (docs/decisions/iai.md).

    Args:
        pooler: the wrapped pooler, (features, boxes) -> (N, C, h, w); its output may be overwritten.
        prompt_channels: channels of each prompt.
        out_channels: channels of the RoI feature, C.
    """

    def __init__(self, pooler: Callable[..., Tensor], prompt_channels: Sequence[int], out_channels: int):
        super().__init__()
        self.pooler = pooler
        self.fusion = nn.ModuleList(nn.Linear(channels, out_channels, bias=False) for channels in prompt_channels)
        for projection in self.fusion:
            nn.init.normal_(projection.weight, std=PROJECTION_RMS * projection.in_features**-0.5)

    def forward(self, features: Sequence[Any] | Mapping[str, Any], boxes: list[Any]) -> Tensor:
        """Pool features and add prompts.

        Args:
            features: the wrapped pooler's input and the PromptContext: a list that ends with it, or a dictionary with
                it as "prompt".
            boxes: per image Detectron2's Boxes (N_i), XYXY, pixels of the network's input.

        Returns:
            (N, C, h, w), N = sum of N_i.
        """
        if isinstance(features, Mapping):
            context = features[PROMPT_FEATURE]
        else:
            *features, context = features
        pooled = self.pooler(features, boxes)
        for projection, prompt in zip(self.fusion, context.encode([b.tensor for b in boxes])):
            pooled = add_projected(pooled, projection.weight, prompt)
        return pooled


def projects_prompts(name: str) -> bool:
    """Return whether a parameter belongs to the projections of a PromptPooler.

    Args:
        name: name of the parameter in the model.
    """
    return "_pooler.fusion." in name


def add_projected(feature: Tensor, weight: Tensor, prompt: Tensor) -> Tensor:
    """Compute feature + resize(weight @ prompt), with bilinear resizing and half-pixel centres.

    The RoI features of a thousand boxes are large, so the cost is the number of passes over them: the last product adds
    to the feature directly, in place if no gradient is required. A prompt is resized before or after its projection,
    whichever needs fewer multiplications. A CPU takes a third of the time of convolving, resizing and adding.

    Args:
        feature: (N, C, H, W) float; may be overwritten.
        weight: (C, D) float.
        prompt: (N, D, h, w) float.

    Returns:
        (N, C, H, W).
    """
    n, channels, height, width = feature.shape
    dim, bins, tokens = prompt.shape[1], height * width, prompt.shape[-2] * prompt.shape[-1]
    weights = weight.expand(n, -1, -1)
    autocast = torch.is_autocast_enabled(feature.device.type)  # it knows no products in place
    in_place = feature.is_contiguous() and not torch.is_grad_enabled() and not autocast
    if prompt.shape[-2:] == (height, width) or dim * bins < tokens * (dim + bins):
        if prompt.shape[-2:] != (height, width):
            prompt = F.interpolate(prompt, (height, width), mode="bilinear", align_corners=False)
        flat = feature.flatten(2)
        return torch.baddbmm(flat, weights, prompt.flatten(2), out=flat if in_place else None).view_as(feature)
    impulses = torch.eye(tokens, device=feature.device, dtype=feature.dtype).view(-1, 1, *prompt.shape[-2:])
    resize = F.interpolate(impulses, (height, width), mode="bilinear", align_corners=False).flatten(1)
    # One product for all boxes: with the few tokens of a prompt, one for each box is six times slower on a CPU.
    projected = F.linear(prompt.flatten(2).transpose(1, 2), weight).transpose(1, 2).reshape(n * channels, tokens)
    flat = feature.reshape(n * channels, bins)
    return torch.addmm(flat, projected, resize, out=flat if in_place else None).view_as(feature)


def add_prompts(
    roi_heads: nn.Module, prompt_channels: Sequence[int], out_channels: int, branches: Sequence[str]
) -> None:
    """Make built RoI heads promptable, in place, by wrapping their poolers.

    Args:
        roi_heads: Detectron2's StandardROIHeads or a subclass (Cascade, PointRend, ...).
        prompt_channels: channels of each prompt.
        out_channels: channels of the RoI features.
        branches: the branches that get prompts: "box", "mask" or both.

    Raises:
        InputError: an unknown branch, or heads without a pooler for it.
    """
    unknown = set(branches) - {"box", "mask"}
    if unknown or not branches:
        raise InputError(f'MODEL.PROMPT.BRANCHES: expected "box", "mask" or both, got {list(branches)}')
    for branch in branches:
        names = getattr(roi_heads, f"{branch}_in_features", None)
        if names is None:
            raise InputError(
                f"MODEL.PROMPT.BRANCHES has {branch!r}, but {type(roi_heads).__name__} has no {branch} branch on a "
                "feature pyramid; use heads with this branch and a pooler, such as StandardROIHeads or CascadeROIHeads"
            )
        setattr(roi_heads, f"{branch}_in_features", [*names, PROMPT_FEATURE])
        pooler = getattr(roi_heads, f"{branch}_pooler")
        if pooler is not None:
            setattr(roi_heads, f"{branch}_pooler", PromptPooler(pooler, prompt_channels, out_channels))
        else:
            _prompt_pooling_head(getattr(roi_heads, f"{branch}_head"), prompt_channels, out_channels)


def _prompt_pooling_head(head: nn.Module, prompt_channels: Sequence[int], out_channels: int) -> None:
    """Wrap the pooling method of a head that pools by itself, like PointRend's mask head."""
    if not hasattr(head, "_roi_pooler"):
        raise InputError(
            f"MODEL.PROMPT.BRANCHES: {type(head).__name__} reads whole feature maps, to which no prompts can be added; "
            "set POOLER_TYPE of its branch, or remove the branch from MODEL.PROMPT.BRANCHES"
        )
    head.prompt_pooler = PromptPooler(head._roi_pooler, prompt_channels, out_channels)
    head.__dict__["_roi_pooler"] = head.prompt_pooler  # set as an attribute, the module would be hidden by the method
