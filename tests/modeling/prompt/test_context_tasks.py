"""Tasks that the crop of a box cannot answer: whether GPM learns to look at the image around it, and where.

Every box is covered with noise, so its own pixels say nothing. "side": is a bright square left or right of the box?
"around": which of two colours has the ground around it? An answer by chance is right half of the time.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from insight.modeling.prompt import GlobalToLocalPrompt, PromptPooler, RegionPromptEncoder
from insight.modeling.prompt.changes import CONTEXT, ChangedPrompts, PromptChange

SIDE, OBJECT = 256, 24  # of an image and of an object, pixels
IMAGES, BOXES = 4, 6  # a step
STEPS = 300


def draw(task, generator):
    """An image (3, SIDE, SIDE), boxes (BOXES, 4) XYXY, and the right answers (BOXES,)."""

    def noise(*shape):
        return torch.randn(shape, generator=generator) * 0.15

    image = noise(3, SIDE, SIDE)
    corners = (torch.rand(BOXES, 2, generator=generator) * (SIDE - 90) + 32).round()
    boxes = torch.cat([corners, corners + OBJECT], dim=1)
    if task == "side":
        answers = torch.randint(2, (BOXES,), generator=generator)
        for (x1, y1, x2, y2), answer in zip(boxes.int().tolist(), answers.tolist()):
            shift = 32 if answer else -32
            image[:, y1:y2, max(x1 + shift, 0) : x2 + shift] += 1.2
    else:  # a line through the middle parts two grounds
        angle = float(torch.rand(1, generator=generator)) * 2 * math.pi
        y, x = torch.meshgrid(torch.arange(SIDE) - SIDE / 2, torch.arange(SIDE) - SIDE / 2, indexing="ij")
        ground = x * math.cos(angle) + y * math.sin(angle) > 0
        image += torch.where(ground, 1.0, -1.0) * torch.tensor([0.5, 0.0, -0.5])[:, None, None]
        columns, rows = ((corners + OBJECT / 2).long()).unbind(1)
        answers = ground[rows, columns].long()
    for x1, y1, x2, y2 in boxes.int().tolist():
        image[:, y1:y2, x1:x2] = noise(3, OBJECT, OBJECT)
    return image, boxes, answers


class Prompted(nn.Module):
    """GPM and a linear answer to its prompts, or to RoI features of zeros that the pooler adds them to."""

    def __init__(self, with_pooler):
        super().__init__()
        gpm = GlobalToLocalPrompt(3, 28, 64, 2, 2, 32, 14)
        self.encoder = RegionPromptEncoder(
            crop_size=28, pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3, local=None, global_to_local=gpm
        )
        self.box_pooler = PromptPooler(self.zeros, self.encoder.prompt_channels, 32) if with_pooler else None
        self.answer = nn.Linear(32 * 7 * 7 if with_pooler else 64 * 2 * 2, 2)

    @staticmethod
    def zeros(features, boxes):
        return torch.zeros(sum(len(x.tensor) for x in boxes), 32, 7, 7)

    def forward(self, images, boxes):
        """The network's input is half as large as the images, as where a detector shrinks them."""
        context = self.encoder.encode_images(list(images), [(SIDE // 2, SIDE // 2)] * len(images))
        boxes = [b / 2 for b in boxes]
        if self.box_pooler is None:
            prompts = context.encode(boxes)[0]
        else:
            prompts = self.box_pooler([context], [type("Boxes", (), {"tensor": b}) for b in boxes])
        return self.answer(prompts.flatten(1))


def step_of(task, generator):
    images, boxes, answers = zip(*(draw(task, generator) for _ in range(IMAGES)))
    return images, boxes, torch.cat(answers)


def right(model, task, seed, steps=12):
    """The share of right answers on new images."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        steps = [step_of(task, generator) for _ in range(steps)]
        return sum(float((model(i, b).argmax(1) == a).float().mean()) for i, b, a in steps) / len(steps)


@pytest.mark.slow
@pytest.mark.parametrize("with_pooler", [False, True], ids=["module", "pooler"])
@pytest.mark.parametrize("task", ["side", "around"])
def test_gpm_learns_what_only_the_image_around_a_box_shows(task, with_pooler):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Prompted(with_pooler)
    projections = [p for name, p in model.named_parameters() if "_pooler.fusion." in name]
    others = [p for name, p in model.named_parameters() if "_pooler.fusion." not in name]
    rates = [5e-4, 5e-3]  # MODEL.PROMPT.PROJECTION_LR_FACTOR 10
    groups = [{"params": p, "lr": rate} for p, rate in zip((others, projections), rates) if p]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates[: len(groups)], STEPS, pct_start=0.05)
    for _ in range(STEPS):
        images, boxes, answers = step_of(task, generator)
        loss = F.cross_entropy(model(images, boxes), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    share = right(model, task, seed=1)
    print(f"{task}, {'pooler' if with_pooler else 'module'}: {share:.3f} right")
    assert share > 0.8
    if with_pooler:
        with ChangedPrompts(model, PromptChange(CONTEXT, "GPM")):  # the images of the step before
            swapped = right(model, task, seed=1)
        assert swapped < 0.7, "the answer is in the tokens of the image"
