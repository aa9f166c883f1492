"""Where boxes meet features: a pooler that adds prompts, for any RoI heads of Detectron2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PROMPT_FEATURE = "prompt"  # the entry of a feature dictionary that holds the PromptContext


class PromptPooler(nn.Module):
    """A pooler whose output is the RoI feature plus the prompts of the same boxes.

    Each prompt is projected to the channels of the RoI feature and resized to its grid, bilinearly. The projections
    start at zero: training starts at the model without prompts.

    Args:
        pooler: pools features: (features, boxes) -> (N, C, h, w), a tensor of its own, which may be overwritten.
        prompt_channels: channels of each prompt.
        out_channels: C, channels of the RoI feature.
    """

    def __init__(self, pooler: Callable[..., Tensor], prompt_channels: Sequence[int], out_channels: int):
        super().__init__()
        self.pooler = pooler
        self.fusion = nn.ModuleList(nn.Linear(channels, out_channels, bias=False) for channels in prompt_channels)
        for projection in self.fusion:
            nn.init.zeros_(projection.weight)

    def forward(self, features: Sequence[Any] | Mapping[str, Any], boxes: list[Any]) -> Tensor:
        """Pool features and add prompts.

        Args:
            features: what the wrapped pooler takes, and the PromptContext: last of a list, or "prompt" of a dictionary.
            boxes: per image Detectron2's Boxes (N_i), XYXY in pixels of the network's input.

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
    """Whether a model's parameter is one of those that project prompts to RoI features.

    Args:
        name: of the parameter, as `named_parameters` gives it.

    Returns:
        True for the weights of every PromptPooler's projections.
    """
    return "_pooler.fusion." in name


def add_projected(feature: Tensor, weight: Tensor, prompt: Tensor) -> Tensor:
    """feature + resize(weight @ prompt), the resize bilinear with half-pixel centres.

    RoI features of a thousand boxes are large, so a pass over them is what costs: the last product adds to the feature
    as it goes. A prompt of a grid nearly as fine is resized first, a coarse one after the projection, by a product with
    a small matrix: whichever multiplies less. It is about three times as fast as convolving, resizing and adding on a
    CPU. Where no gradient is wanted the feature itself is added to, which saves its copy.

    Args:
        feature: (N, C, H, W); may be overwritten.
        weight: (C, D).
        prompt: (N, D, h, w).

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
    projected = torch.bmm(weights, prompt.flatten(2)).view(n * channels, tokens)
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
        branches: of "box" and "mask", those that get prompts.

    Raises:
        ValueError: if a branch is unknown, or the heads have no pooler for it.
    """
    unknown = set(branches) - {"box", "mask"}
    if unknown or not branches:
        raise ValueError(f'MODEL.PROMPT.BRANCHES must name "box", "mask" or both, got {list(branches)}')
    for branch in branches:
        names = getattr(roi_heads, f"{branch}_in_features", None)
        if names is None:
            raise ValueError(
                f"MODEL.PROMPT.BRANCHES has {branch!r}, but {type(roi_heads).__name__} has no {branch} branch on a "
                "feature pyramid; use heads that pool, as StandardROIHeads or CascadeROIHeads do, with this branch on"
            )
        setattr(roi_heads, f"{branch}_in_features", [*names, PROMPT_FEATURE])
        pooler = getattr(roi_heads, f"{branch}_pooler")
        if pooler is not None:
            setattr(roi_heads, f"{branch}_pooler", PromptPooler(pooler, prompt_channels, out_channels))
        else:
            _prompt_pooling_head(getattr(roi_heads, f"{branch}_head"), prompt_channels, out_channels)


def _prompt_pooling_head(head: nn.Module, prompt_channels: Sequence[int], out_channels: int) -> None:
    """Wrap the pooling method of a head that pools for itself, as PointRend's mask head does."""
    if not hasattr(head, "_roi_pooler"):
        raise ValueError(
            f"prompts cannot join {type(head).__name__}: it gets whole feature maps and has no _roi_pooler; "
            "set POOLER_TYPE of its branch, or take the branch out of MODEL.PROMPT.BRANCHES"
        )
    head.prompt_pooler = PromptPooler(head._roi_pooler, prompt_channels, out_channels)
    head.__dict__["_roi_pooler"] = head.prompt_pooler  # a module set by attribute would hide behind the method
