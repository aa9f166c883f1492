"""Prompts changed on their way to the features, to measure what a trained model takes from them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from .encoder import PromptContext, RegionPromptEncoder
from .pooler import PROMPT_FEATURE, PromptPooler

SILENT, MEAN, NEIGHBOUR, CONTEXT = "silent", "mean", "of the box before", "context of the image before"


@dataclasses.dataclass(frozen=True)
class PromptChange:
    """What is changed.

    Args:
        kind: SILENT: there is no prompt. MEAN: every box gets the mean of the prompts of all boxes so far, which says
            nothing but where in a box a cell lies. NEIGHBOUR: the prompt of the box before, in the order in which the
            model asks, be it of another image. CONTEXT: a box's own crop and place, and the image before.
        module: "LPM" or "GPM", whose prompts are changed; None for both.
        branch: "box" or "mask", where they are changed; None for both.
    """

    kind: str
    module: str | None = None
    branch: str | None = None

    def __str__(self) -> str:
        return f"{self.module or f'{self.branch} branch'} {self.kind}"


def possible_changes(model: nn.Module) -> list[PromptChange]:
    """The changes that mean something for a model.

    Args:
        model: with PromptPoolers and at most one RegionPromptEncoder, as `PromptRCNN` is.

    Returns:
        For each prompt module that is on, SILENT, MEAN and NEIGHBOUR, and CONTEXT for GPM; where both branches have
        prompts, SILENT for each.
    """
    encoders = [module for module in model.modules() if isinstance(module, RegionPromptEncoder)]
    modules = [name for encoder in encoders for name in _modules(encoder)]
    changes = [PromptChange(kind, module) for module in modules for kind in (SILENT, MEAN, NEIGHBOUR)]
    if "GPM" in modules:
        changes.append(PromptChange(CONTEXT, "GPM"))
    branches = sorted({branch for branch, _ in _poolers(model)})
    return changes + [PromptChange(SILENT, branch=branch) for branch in branches if len(branches) > 1]


class ChangedPrompts:
    """A context manager within which a model's prompts are changed; it may be entered again and again.

    Between its uses it remembers what MEAN, NEIGHBOUR and CONTEXT need of the boxes and images that it has seen.

    Args:
        model: the model, in evaluation.
        change: what to change.
    """

    def __init__(self, model: nn.Module, change: PromptChange):
        self._change = change
        self._poolers = [pooler for branch, pooler in _poolers(model) if change.branch in (None, branch)]
        self._memories: dict[tuple[int, str], _Memory] = defaultdict(_Memory)
        self._contexts: tuple[PromptContext | None, PromptContext | None] = (None, None)  # of the image before, and now

    def __enter__(self) -> ChangedPrompts:
        self._hooks = ExitStack()
        for pooler in self._poolers:
            self._hooks.callback(pooler.register_forward_pre_hook(self._before_pooling).remove)
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.close()

    def _before_pooling(self, pooler: PromptPooler, inputs: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
        features, boxes = inputs
        if isinstance(features, Mapping):
            return {**features, PROMPT_FEATURE: _Changed(self, pooler, features[PROMPT_FEATURE])}, boxes
        *maps, context = features
        return [*maps, _Changed(self, pooler, context)], boxes

    def encode(self, pooler: PromptPooler, context: PromptContext, boxes: list[Tensor]) -> list[Tensor]:
        """The prompts of boxes, changed.

        Args:
            pooler: who asks.
            context: of the images.
            boxes: as `PromptContext.encode` takes them.

        Returns:
            What it returns.
        """
        if self._change.kind == CONTEXT:
            context = self._with_the_tokens_before(context)
        prompts = context.encode(boxes)
        for index, name in enumerate(_modules(context.encoder)):
            if self._change.module in (None, name):
                prompts[index] = self._memories[id(pooler), name].changed(self._change.kind, prompts[index])
        return prompts

    def _with_the_tokens_before(self, context: PromptContext) -> PromptContext:
        if context is not self._contexts[1]:
            self._contexts = self._contexts[1], context
        before = self._contexts[0] or context  # the first image has none before it
        return dataclasses.replace(context, global_tokens=before.global_tokens)


@dataclasses.dataclass(frozen=True)
class _Changed:
    """Stands in for a PromptContext."""

    changes: ChangedPrompts
    pooler: PromptPooler
    context: PromptContext

    def encode(self, boxes: list[Tensor]) -> list[Tensor]:
        return self.changes.encode(self.pooler, self.context, boxes)


class _Memory:
    """What one pooler has seen of one module's prompts."""

    def __init__(self):
        self._sum: Tensor | float = 0.0
        self._count = 0
        self._last: Tensor | None = None

    def changed(self, kind: str, prompt: Tensor) -> Tensor:
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
        return prompt


def _modules(encoder: RegionPromptEncoder) -> list[str]:
    """The prompt modules that are on, in the order of their prompts."""
    modules = (("LPM", encoder.local), ("GPM", encoder.global_to_local))
    return [name for name, module in modules if module is not None]


def _poolers(model: nn.Module) -> list[tuple[str, PromptPooler]]:
    """Every PromptPooler once, with its branch."""
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, PromptPooler)]
    return [("box" if name.endswith("box_pooler") else "mask", pooler) for name, pooler in found]
