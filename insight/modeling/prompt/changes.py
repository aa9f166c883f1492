"""Ablation of prompts in a trained model, to measure what they contribute."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from .encoder import PromptContext, RegionPromptEncoder
from .pooler import PROMPT_FEATURE, PromptPooler

SILENT, MEAN, NEIGHBOUR, CONTEXT = "silent", "mean", "of the box before", "context of the image before"
OTHER_CLASS = "of a box of another class"
_MATCHED = 0.5  # IoU from which a box has the class of a ground-truth box


@dataclasses.dataclass(frozen=True)
class PromptChange:
    """An ablation.

    Args:
        kind: SILENT: no prompt. MEAN: the mean prompt of all boxes so far, which depends on the position within a box
            alone. NEIGHBOUR: the prompt of the previous box, in the order in which the model encodes them, possibly of
            another image. OTHER_CLASS: the prompt of the last earlier box of an object of another class; needs
            `ChangedPrompts.see`. Boxes without an object count as a class of their own. CONTEXT: the box's own crop and
            position, with the global tokens of the previous image.
        module: "LPM" or "GPM", the module whose prompts are changed; None for both.
        branch: "box" or "mask", the branch in which they are changed; None for both.
    """

    kind: str
    module: str | None = None
    branch: str | None = None

    def __str__(self) -> str:
        return f"{self.module or f'{self.branch} branch'} {self.kind}"


def possible_changes(model: nn.Module) -> list[PromptChange]:
    """List the ablations that apply to a model.

    Args:
        model: a model with PromptPoolers and at most one RegionPromptEncoder, such as `PromptRCNN`.

    Returns:
        SILENT, MEAN, NEIGHBOUR and OTHER_CLASS for each prompt module, CONTEXT for GPM and, if both branches have
        prompts, SILENT for each branch.
    """
    encoders = [module for module in model.modules() if isinstance(module, RegionPromptEncoder)]
    modules = [name for encoder in encoders for name in _modules(encoder)]
    changes = [PromptChange(kind, module) for module in modules for kind in (SILENT, MEAN, NEIGHBOUR, OTHER_CLASS)]
    if "GPM" in modules:
        changes.append(PromptChange(CONTEXT, "GPM"))
    branches = sorted({branch for branch, _ in _poolers(model)})
    return changes + [PromptChange(SILENT, branch=branch) for branch in branches if len(branches) > 1]


class ChangedPrompts:
    """A reusable context manager within which a model's prompts are changed.

    State from earlier boxes and images, which all kinds but SILENT need, is kept between uses.

    Args:
        model: the model, in evaluation mode.
        change: the ablation.
    """

    def __init__(self, model: nn.Module, change: PromptChange):
        self._change = change
        self._poolers = [pooler for branch, pooler in _poolers(model) if change.branch in (None, branch)]
        self._memories: dict[tuple[int, str], _Memory] = defaultdict(_Memory)
        self._truth = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
        self._contexts: tuple[PromptContext | None, PromptContext | None] = (None, None)  # previous, current

    def __enter__(self) -> ChangedPrompts:
        self._hooks = ExitStack()
        for pooler in self._poolers:
            self._hooks.callback(pooler.register_forward_pre_hook(self._before_pooling).remove)
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.close()

    def see(self, boxes: Tensor, classes: Tensor) -> None:
        """Set the ground truth of the next image, one at a time, by which OTHER_CLASS knows classes.

        Args:
            boxes: (M, 4) float XYXY, fractions of the image.
            classes: (M,) int64.
        """
        self._truth = boxes, classes

    def _before_pooling(self, pooler: PromptPooler, inputs: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
        features, boxes = inputs
        if isinstance(features, Mapping):
            return {**features, PROMPT_FEATURE: _Changed(self, pooler, features[PROMPT_FEATURE])}, boxes
        *maps, context = features
        return [*maps, _Changed(self, pooler, context)], boxes

    def encode(self, pooler: PromptPooler, context: PromptContext, boxes: list[Tensor]) -> list[Tensor]:
        """Encode boxes as changed prompts.

        Args:
            pooler: the pooler that adds them.
            context: the encoded images.
            boxes: as in `PromptContext.encode`.

        Returns:
            The prompts, as in `PromptContext.encode`.
        """
        if self._change.kind == CONTEXT:
            context = self._with_previous_tokens(context)
        prompts = context.encode(boxes)
        classes = self._classes(context.relative(boxes)) if self._change.kind == OTHER_CLASS else []
        for index, name in enumerate(_modules(context.encoder)):
            if self._change.module in (None, name):
                prompts[index] = self._memories[id(pooler), name].changed(self._change.kind, prompts[index], classes)
        return prompts

    def _classes(self, boxes: Tensor) -> list[int]:
        """The class of each box (N, 4): that of the ground truth that it overlaps most, or -1."""
        truth, classes = (x.to(boxes.device) for x in self._truth)
        if not len(truth) or not len(boxes):
            return [-1] * len(boxes)
        overlap, index = box_iou(boxes.float(), truth.float()).max(dim=1)
        return classes[index].where(overlap >= _MATCHED, -1).tolist()

    def _with_previous_tokens(self, context: PromptContext) -> PromptContext:
        if context is not self._contexts[1]:
            self._contexts = self._contexts[1], context
        before = self._contexts[0] or context  # the first image has no previous one
        tokens = [before.global_tokens[i % len(before.global_tokens)] for i in range(len(context.global_tokens))]
        return dataclasses.replace(context, global_tokens=tokens)


@dataclasses.dataclass(frozen=True)
class _Changed:
    """A PromptContext whose prompts are changed."""

    changes: ChangedPrompts
    pooler: PromptPooler
    context: PromptContext

    def encode(self, boxes: list[Tensor]) -> list[Tensor]:
        return self.changes.encode(self.pooler, self.context, boxes)


class _Memory:
    """One module's prompts so far, in one pooler."""

    def __init__(self):
        self._sum: Tensor | float = 0.0
        self._count = 0
        self._last: Tensor | None = None
        self._of_classes: dict[int, Tensor] = {}  # the last prompt of each class, the latest class last

    def changed(self, kind: str, prompt: Tensor, classes: Sequence[int] = ()) -> Tensor:
        if kind == SILENT:
            return torch.zeros_like(prompt)
        if not len(prompt):
            return prompt
        if kind == MEAN:
            self._sum, self._count = self._sum + prompt.sum(0, keepdim=True), self._count + len(prompt)
            return (self._sum / self._count).expand_as(prompt)
        if kind == NEIGHBOUR:
            before, self._last = prompt[-1:] if self._last is None else self._last, prompt[-1:]
            return torch.cat([before, prompt[:-1]])
        if kind == OTHER_CLASS:
            return torch.stack([self._of_another(*pair) for pair in zip(prompt, classes, strict=True)])
        return prompt

    def _of_another(self, prompt: Tensor, label: int) -> Tensor:
        others = [known for known in self._of_classes if known != label]
        answer = self._of_classes[others[-1]] if others else prompt  # the first boxes have no other before them
        if label >= 0:
            self._of_classes.pop(label, None)
            self._of_classes[label] = prompt
        return answer


def _modules(encoder: RegionPromptEncoder) -> list[str]:
    """Names of the prompt modules, in the order of their prompts."""
    modules = (("LPM", encoder.local), ("GPM", encoder.global_to_local))
    return [name for name, module in modules if module is not None]


def _poolers(model: nn.Module) -> list[tuple[str, PromptPooler]]:
    """Every PromptPooler with the name of its branch."""
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, PromptPooler)]
    return [("box" if name.endswith("box_pooler") else "mask", pooler) for name, pooler in found]
