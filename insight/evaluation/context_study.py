"""How well constant, crop and context prompts classify objects, alone or with the features of a backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from insight.errors import InputError
from insight.modeling.prompt import (
    ConstantPrompt,
    GlobalToLocalPrompt,
    LocalPrompt,
    PromptPooler,
    RegionPromptEncoder,
)
from insight.modeling.prompt.changes import CONTEXT, ChangedPrompts, PromptChange
from insight.runtime.progress import Progress

from .context_samples import BINS, COARSE_STRIDE, PIXEL_MEAN, PIXEL_STD, Sample, Samples

ROWS = {"constant": (), "crop (LPM)": ("LPM",), "context (GPM)": ("GPM",), "both": ("LPM", "GPM")}
OTHER_IMAGE = ", context of another image"

_LEAST_STEPS = 50
_IMAGES, _BOXES = 4, 12  # a step
_CHANNELS = 32  # of the RoI feature that prompts are added to


class PromptClassifier(nn.Module):
    """The class of each box: a PromptPooler over RoI features, or over zeros, and a linear layer.

    Args:
        modules: some of "LPM" and "GPM", in the sizes of the light recipes; empty for a learnt constant.
        classes: number of classes.
        roi_channels: channels of the samples' RoI features; 0: zeros, so that the prompts alone can answer.
        coarse_channels: channels of the samples' coarse features, which GPM reads beside the image; 0 for none.
    """

    def __init__(self, modules: Sequence[str], classes: int, roi_channels: int = 0, coarse_channels: int = 0):
        super().__init__()
        gpm = "GPM" in modules
        self.encoder = RegionPromptEncoder(
            crop_size=28,
            pixel_mean=list(PIXEL_MEAN),
            pixel_std=list(PIXEL_STD),
            local=LocalPrompt(3, 28, 16, 8, 4) if "LPM" in modules else None,
            global_to_local=GlobalToLocalPrompt(3, 28, 64, 2, 2, 32, 14, 256, coarse_channels) if gpm else None,
            constant=None if modules else ConstantPrompt(64, BINS),
            backbone_feature="coarse" if gpm and coarse_channels else "",
        )
        self.reduce = nn.Conv2d(roi_channels, _CHANNELS, 1) if roi_channels else None
        self.box_pooler = PromptPooler(self._pool, self.encoder.prompt_channels, _CHANNELS)
        self.classify = nn.Linear(_CHANNELS * BINS**2, classes)

    def forward(self, samples: Sequence[Sample]) -> Tensor:
        """Classify the boxes of images.

        Args:
            samples: images with their boxes.

        Returns:
            (N, classes) logits, N = sum of the boxes.
        """
        images = [x.image for x in samples]
        coarse = _padded([x.coarse for x in samples]) if self.encoder.backbone_feature else None
        context = self.encoder.encode_images(
            images, [(x.shape[-2], x.shape[-1]) for x in images], coarse, COARSE_STRIDE
        )
        roi = [x.roi for x in samples]
        return self.classify(self.box_pooler([*roi, context], [_Boxes(x.boxes) for x in samples]).flatten(1))

    def _pool(self, roi: Sequence[Tensor | None], boxes: list[_Boxes]) -> Tensor:
        if self.reduce is None:
            return torch.zeros(sum(len(x.tensor) for x in boxes), _CHANNELS, BINS, BINS)
        return self.reduce(torch.cat(list(roi)).float())


def study_context(
    samples: Samples, steps: int = 400, seed: int = 0, *, features: bool = False
) -> dict[str, dict[str, float]]:
    """Train a classifier on each kind of prompt, and test it on images that it has not seen.

    Args:
        samples: the objects.
        steps: training steps of four images each; learning rates are those of the light recipes.
        seed: seed of the weights and of the order of images.
        features: add the prompts to the samples' RoI features, as a detector does. Without, the prompts alone answer.

    Returns:
        {row: {group: percent}}: the mean over the classes of a group of the share of right answers among them. GPM's
        rows are repeated with the context of another image.

    Raises:
        InputError: steps is below 50.
    """
    if steps < _LEAST_STEPS:
        raise InputError(f"steps: expected at least {_LEAST_STEPS}, got {steps}")
    first = samples.training[0]
    roi = first.roi.shape[1] if features else 0
    coarse = len(first.coarse) if first.coarse is not None else 0
    results = {}
    for row, modules in ROWS.items():
        torch.manual_seed(seed)
        model = PromptClassifier(modules, samples.count, roi, coarse)
        _train(model, samples.training, steps, seed, row)
        model.eval()
        results[row] = _test(model, samples)
        if "GPM" in modules:
            with ChangedPrompts(model, PromptChange(CONTEXT, "GPM")):
                results[row + OTHER_IMAGE] = _test(model, samples)
    return results


def _train(model: PromptClassifier, samples: Sequence[Sample], steps: int, seed: int, name: str) -> None:
    groups: list[dict] = [{"params": [], "lr": 5e-4}, {"params": [], "lr": 5e-3}]
    for key, parameter in model.named_parameters():
        groups["_pooler.fusion." in key]["params"].append(parameter)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [g["lr"] for g in groups], steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(seed)
    with Progress(steps, f"Training: {name}", "step") as shown:
        for batch in _batches(samples, steps, generator):
            loss = F.cross_entropy(model(batch), torch.cat([x.classes for x in batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            shown.update()


def _batches(samples: Sequence[Sample], steps: int, generator: torch.Generator) -> Iterator[list[Sample]]:
    for _ in range(steps):
        chosen = [samples[i] for i in torch.randperm(len(samples), generator=generator)[:_IMAGES].tolist()]
        yield [_some(x, torch.randperm(len(x.boxes), generator=generator)[:_BOXES]) for x in chosen]


def _some(sample: Sample, rows: Tensor) -> Sample:
    roi = None if sample.roi is None else sample.roi[rows]
    return replace(sample, boxes=sample.boxes[rows], classes=sample.classes[rows], roi=roi)


@torch.no_grad()
def _test(model: PromptClassifier, samples: Samples) -> dict[str, float]:
    logits = torch.cat([model([x]) for x in samples.tests])
    classes = torch.cat([x.classes for x in samples.tests])
    found = {}
    for name, among in samples.groups.items():
        answers = torch.tensor(among)[logits[:, among].argmax(dim=1)]
        shares = [(answers[classes == k] == k).double().mean() for k in among]
        found[name] = float(torch.stack(shares).mean() * 100)
    return found


def _padded(maps: Sequence[Tensor]) -> Tensor:
    """(B, D, h, w) of maps of several sizes, with zeros to the right and below."""
    height, width = (max(x.shape[axis] for x in maps) for axis in (1, 2))
    return torch.stack([F.pad(x, (0, width - x.shape[2], 0, height - x.shape[1])) for x in maps])


@dataclass(frozen=True)
class _Boxes:
    tensor: Tensor
