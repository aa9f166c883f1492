"""How well constant, crop and context prompts classify objects that only their surroundings distinguish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from insight.data.scenes.context import CONTEXT_CATEGORIES, draw_context_scene
from insight.errors import InputError
from insight.modeling.prompt import (
    ConstantPrompt,
    GlobalToLocalPrompt,
    LocalPrompt,
    PromptPooler,
    RegionPromptEncoder,
)
from insight.modeling.prompt.changes import CONTEXT, ChangedPrompts, PromptChange
from insight.runtime.progress import Progress, progress

ROWS = {"constant": (), "crop (LPM)": ("LPM",), "context (GPM)": ("GPM",), "both": ("LPM", "GPM")}
OTHER_IMAGE = ", context of another image"

_TRAINING_SCENES, _TEST_SCENES, _FIRST_TEST_SEED = 600, 100, 1_000_000
_LEAST_STEPS = 50
_IMAGES, _BOXES = 4, 12  # a step
_CHANNELS, _BINS = 32, 7  # of the RoI feature, which is zero but for the prompts
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class _Sample:
    """A scene as tensors: image (3, H, W) uint8, boxes (N, 4) XYXY in pixels, classes (N,)."""

    image: Tensor
    boxes: Tensor
    classes: Tensor


class PromptClassifier(nn.Module):
    """The class of each box, from its prompts alone: a PromptPooler over features of zeros and a linear layer.

    Args:
        modules: some of "LPM" and "GPM", in the sizes of the light recipes; empty for a learnt constant.
    """

    def __init__(self, modules: Sequence[str]):
        super().__init__()
        self.encoder = RegionPromptEncoder(
            crop_size=28,
            pixel_mean=list(_MEAN),
            pixel_std=list(_STD),
            local=LocalPrompt(3, 28, 16, 8, 4) if "LPM" in modules else None,
            global_to_local=GlobalToLocalPrompt(3, 28, 64, 2, 2, 32, 14, 256) if "GPM" in modules else None,
            constant=None if modules else ConstantPrompt(64, 7),
        )
        self.box_pooler = PromptPooler(_zeros, self.encoder.prompt_channels, _CHANNELS)
        self.classify = nn.Linear(_CHANNELS * _BINS**2, len(CONTEXT_CATEGORIES))

    def forward(self, images: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """Classify boxes.

        Args:
            images: per image (3, H, W) uint8 RGB.
            boxes: per image (N_i, 4) float XYXY, pixels.

        Returns:
            (N, 4) logits of CONTEXT_CATEGORIES, N = sum of N_i.
        """
        context = self.encoder.encode_images(images, [(x.shape[-2], x.shape[-1]) for x in images])
        return self.classify(self.box_pooler([context], [_Boxes(x) for x in boxes]).flatten(1))


def study_context(steps: int = 400, seed: int = 0) -> dict[str, dict[str, float]]:
    """Train a classifier on each kind of prompt, and test it on 100 scenes that it has not seen.

    A detector's own features see around a box too; here they are zero, so that prompts alone can answer. Without
    context half of the cars and half of the tanks are right by chance.

    Args:
        steps: training steps of four of 600 scenes each; learning rates are those of the light recipes.
        seed: seed of the weights and of the scenes.

    Returns:
        {row: {"cars", "tanks", "all"}}: the mean over the classes of the share of right answers, in percent; among the
        two classes of a pair, or among all four. GPM's rows are repeated with the context of another image.

    Raises:
        InputError: steps is below 50.
    """
    if steps < _LEAST_STEPS:
        raise InputError(f"steps: expected at least {_LEAST_STEPS}, got {steps}")
    seeds = [seed * _TRAINING_SCENES + i for i in range(_TRAINING_SCENES)]
    seeds += range(_FIRST_TEST_SEED, _FIRST_TEST_SEED + _TEST_SCENES)
    scenes = [_draw(s) for s in progress(seeds, "Drawing scenes", "scene")]
    training, tests = scenes[:_TRAINING_SCENES], scenes[_TRAINING_SCENES:]
    results = {}
    for row, modules in ROWS.items():
        torch.manual_seed(seed)
        model = PromptClassifier(modules)
        _train(model, training, steps, seed, row)
        model.eval()
        results[row] = _test(model, tests)
        if "GPM" in modules:
            with ChangedPrompts(model, PromptChange(CONTEXT, "GPM")):
                results[row + OTHER_IMAGE] = _test(model, tests)
    return results


def _train(model: PromptClassifier, scenes: Sequence[_Sample], steps: int, seed: int, name: str) -> None:
    groups: list[dict] = [{"params": [], "lr": 5e-4}, {"params": [], "lr": 5e-3}]
    for key, parameter in model.named_parameters():
        groups["_pooler.fusion." in key]["params"].append(parameter)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [g["lr"] for g in groups], steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(seed)
    with Progress(steps, f"Training: {name}", "step") as shown:
        for images, boxes, classes in _batches(scenes, steps, generator):
            loss = F.cross_entropy(model(images, boxes), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            shown.update()


def _batches(
    scenes: Sequence[_Sample], steps: int, generator: torch.Generator
) -> Iterator[tuple[list[Tensor], list[Tensor], Tensor]]:
    for _ in range(steps):
        samples = [scenes[i] for i in torch.randperm(len(scenes), generator=generator)[:_IMAGES].tolist()]
        chosen = [torch.randperm(len(x.boxes), generator=generator)[:_BOXES] for x in samples]
        yield (
            [x.image for x in samples],
            [x.boxes[rows] for x, rows in zip(samples, chosen)],
            torch.cat([x.classes[rows] for x, rows in zip(samples, chosen)]),
        )


@torch.no_grad()
def _test(model: PromptClassifier, tests: Sequence[_Sample]) -> dict[str, float]:
    logits = torch.cat([model([x.image], [x.boxes]) for x in tests])
    classes = torch.cat([x.classes for x in tests])
    found = {}
    for name, among in (("cars", [0, 1]), ("tanks", [2, 3]), ("all", [0, 1, 2, 3])):
        answers = torch.tensor(among)[logits[:, among].argmax(dim=1)]
        shares = [(answers[classes == k] == k).double().mean() for k in among]
        found[name] = float(torch.stack(shares).mean() * 100)
    return found


def _draw(seed: int) -> _Sample:
    scene = draw_context_scene(seed)
    boxes = torch.tensor([x.box for x in scene.instances], dtype=torch.float32).view(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = torch.tensor([CONTEXT_CATEGORIES.index(x.category) for x in scene.instances], dtype=torch.int64)
    return _Sample(torch.from_numpy(scene.image.transpose(2, 0, 1).copy()), boxes, classes)


@dataclass(frozen=True)
class _Boxes:
    tensor: Tensor


def _zeros(features: Sequence, boxes: list[_Boxes]) -> Tensor:
    return torch.zeros(sum(len(x.tensor) for x in boxes), _CHANNELS, _BINS, _BINS)
