"""Crop plans: which regions of an image to cut out, and in which of them each prompt is segmented."""

from typing import NamedTuple

import torch
from torch import Tensor

from insight.errors import InputError

from .crop_regions import CropSchedule, crop_regions, random_positions
from .points import BACKGROUND, FOREGROUND
from .prompts import Prompts

BORDER = 1e-3  # of a region's side: a point beyond it by less counts as seen


class CropPlan(NamedTuple):
    """R regions that serve N prompts.

    Attributes:
        regions: (R, 4) float XYXY, image pixels, each shown by a square crop; may extend beyond the image.
        index: (N,) int64, the region of each prompt.
        resized: None if regions are cut out; if the one region is the whole image, resized and padded, its (height,
            width) in the crop, pixels.
    """

    regions: Tensor
    index: Tensor  # type: ignore[assignment] # of tuple, whose method nobody needs here
    resized: tuple[int, int] | None = None

    def select(self, prompts: Tensor) -> "CropPlan":
        """Return the plan for some of the prompts.

        Args:
            prompts: (M,) int64.

        Returns:
            The regions of these prompts, for M prompts.
        """
        used, index = self.index[prompts].unique(return_inverse=True)
        return CropPlan(self.regions[used], index, self.resized)


def one_crop_each(boxes: Tensor, schedule: CropSchedule | None = None, positions: Tensor | None = None) -> CropPlan:
    """Plan a region around each object: region-adaptive magnification.

    Args:
        boxes: (N, 4) float XYXY, image pixels.
        schedule: size of the regions; None for the paper's constants.
        positions: (N, 2) as in `crop_regions`; None centres the objects.

    Returns:
        N regions for N prompts.

    Source: SOPSeg, Eq. 1 and 2.
    """
    return CropPlan(crop_regions(boxes, schedule, positions), torch.arange(len(boxes), device=boxes.device))


def whole_image(count: int, image_size: tuple[int, int], size: int) -> CropPlan:
    """Plan one region for all prompts, as in SAM: the image, extended right or down by the padding of its crop.

    SAM resizes an image's longest side to the crop's and rounds the other to integer pixels, so the magnifications of
    the two axes, and with them the sides of the region, may differ slightly.

    Args:
        count: number of prompts, N.
        image_size: (height, width) of the image, pixels.
        size: side of the crop, pixels.

    Returns:
        One region for N prompts.

    Source: segment-anything's ResizeLongestSide.
    """
    height, width = image_size
    resized_height, resized_width = (max(1, int(side * size / max(image_size) + 0.5)) for side in image_size)
    region = torch.tensor([[0.0, 0.0, size * width / resized_width, size * height / resized_height]])
    return CropPlan(region, torch.zeros(count, dtype=torch.int64), (resized_height, resized_width))


def shared_crops(boxes: Tensor, magnification: float, schedule: CropSchedule | None = None) -> CropPlan:
    """Plan regions shared by nearby objects of similar size, such as boats in a marina.

    Greedy: starts from the smallest object without a region, and takes the region that contains the most such objects.
    An object may share a region between 1 and 1 / magnification times as large as its own, if the region contains it
    with some context. An object that can share none keeps its own region.

    Args:
        boxes: (N, 4) float XYXY, image pixels.
        magnification: lowest magnification of an object, as a fraction of its own; above 0 and below 1.
        schedule: size of the regions; None for the paper's constants.

    Returns:
        R <= N regions for N prompts, on the CPU.

    Raises:
        InputError: magnification is not between 0 and 1.
    """
    if not 0 < magnification < 1:
        raise InputError(f"magnification: expected a fraction between 0 and 1, got {magnification}")
    schedule = schedule or CropSchedule()
    boxes = boxes.cpu()  # object by object, which a GPU would only slow down
    own = crop_regions(boxes, schedule).double()
    sizes = own[:, 2] - own[:, 0]
    needed = _with_context(boxes.double(), sizes)
    index = torch.full((len(boxes),), -1)
    regions: list[Tensor] = []
    for seed in sizes.argsort(stable=True).tolist():
        if index[seed] >= 0:
            continue
        side = sizes[seed] / magnification
        low, high = torch.minimum(needed[:, :2], needed[seed, :2]), torch.maximum(needed[:, 2:], needed[seed, 2:])
        near = ((high - low) <= side).all(1) & (sizes <= side) & (index < 0)
        members = _most_together(needed, near.nonzero()[:, 0], seed, side)
        index[members] = len(regions)
        if len(members) == 1:
            regions.append(own[seed])
            continue
        centre = (needed[members, :2].amin(0) + needed[members, 2:].amax(0)) / 2
        regions.append(torch.cat([centre - side / 2, centre + side / 2]))
    stacked = torch.stack(regions) if regions else boxes.new_zeros(0, 4)
    return CropPlan(stacked.float(), index)


def plan_crops(
    prompts: Prompts, image_size: tuple[int, int], size: int, magnify: bool = True, shared: float = 0.0
) -> CropPlan:
    """Plan the regions for prompts: around each object if boxes give its size, else the whole image.

    A foreground point outside its box widens the region, since the object extends to it. A background point does not;
    if it lies outside the region, it is dropped (`split_off_unseen_points`).

    Args:
        prompts: N prompts, image pixels.
        image_size: (height, width) of the image, pixels.
        size: side of the crops, pixels.
        magnify: False always takes the whole image, as SAM does.
        shared: let nearby objects share a region, as `shared_crops` with this magnification; 0 shares none.

    Returns:
        A region for each object, some of them shared, or one for all.

    Raises:
        InputError: shared is neither 0 nor between 0 and 1.
    """
    if prompts.boxes is None or not magnify:
        return whole_image(prompts.count, image_size, size)
    extents = _extents(prompts)
    return shared_crops(extents, shared) if shared else one_crop_each(extents)


def split_off_unseen_points(prompts: Prompts, plan: CropPlan) -> list[tuple[Tensor, Prompts, CropPlan]]:
    """Drop the background points that lie outside their prompt's crop.

    A point is encoded by its position in the crop, so a point outside would change the mask although it is not visible.
    It is removed rather than relabelled as "no point", a token that the decoder would still see; so prompts are grouped
    by the number of points that they keep.

    Args:
        prompts: N prompts, image pixels.
        plan: their regions.

    Returns:
        Groups that together hold every prompt once: (n,) int64 indices of the prompts, the prompts, their plan.
    """
    everything = torch.arange(prompts.count, device=plan.index.device)
    if prompts.boxes is None or prompts.points is None or prompts.labels is None:
        return [(everything, prompts, plan)]
    region = plan.regions[plan.index].to(prompts.points)[:, None]
    border = BORDER * (region[..., 2:] - region[..., :2])
    outside = (prompts.points < region[..., :2] - border) | (prompts.points > region[..., 2:] + border)
    seen = ~(outside.any(2) & (prompts.labels == BACKGROUND))
    if seen.all():
        return [(everything, prompts, plan)]
    groups = []
    for count in seen.sum(1).unique().tolist():
        rows = (seen.sum(1) == count).nonzero()[:, 0]
        part, kept = prompts.select(rows), seen[rows]
        points, labels = (
            values[rows][kept].unflatten(0, (len(rows), count)) for values in (prompts.points, prompts.labels)
        )
        part = part._replace(points=points if count else None, labels=labels if count else None)
        rows = rows.to(plan.index.device)
        groups.append((rows, part, plan.select(rows)))
    return groups


def training_crops(boxes: Tensor, shared: float = 0.0, generator: torch.Generator | None = None) -> CropPlan:
    """Plan a region around each object for training, at a random position and, on request, like a shared one.

    Args:
        boxes: (N, 4) float XYXY, image pixels.
        shared: as in `plan_crops`. If not 0, half of the objects, at random, get a region up to 1 / shared times as
            large as their own, at any position that keeps their context, like those of `shared_crops`.
        generator: source of randomness.

    Returns:
        N regions for N prompts.

    Source: SOPSeg, text below Eq. 2; the regions of shared crops are not in the paper.
    """
    plan = one_crop_each(boxes, positions=random_positions(len(boxes), generator))
    if not shared:
        return plan
    draw, larger, *position = torch.rand(4, len(boxes), 1, generator=generator)
    sizes = plan.regions[:, 2:] - plan.regions[:, :2]
    needed = _with_context(boxes, sizes[:, 0])
    sides = sizes * (1 + larger * (1 / shared - 1))
    corners = needed[:, :2] - torch.cat(position, 1) * (sides - (needed[:, 2:] - needed[:, :2]))
    return plan._replace(regions=torch.where(draw < 0.5, torch.cat([corners, corners + sides], 1), plan.regions))


def check_shared(shared: float) -> None:
    """Validate the `shared` argument of `plan_crops` before there are prompts.

    Args:
        shared: a fraction of an object's own magnification, or 0.

    Raises:
        InputError: shared is neither 0 nor between 0 and 1.
    """
    if not 0 <= shared < 1:
        raise InputError(f"shared_crops (SHARED_CROPS): expected 0 or a fraction below 1, got {shared}")


def _extents(prompts: Prompts) -> Tensor:
    """(N, 4) XYXY, the boxes widened to their foreground points."""
    assert prompts.boxes is not None, "points alone have no extent"
    if prompts.points is None or prompts.labels is None:
        return prompts.boxes
    is_foreground = prompts.labels.eq(FOREGROUND)[..., None]
    low = prompts.points.masked_fill(~is_foreground, torch.inf).amin(1)
    high = prompts.points.masked_fill(~is_foreground, -torch.inf).amax(1)
    return torch.cat([torch.minimum(prompts.boxes[:, :2], low), torch.maximum(prompts.boxes[:, 2:], high)], 1)


def _with_context(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes with the context that a shared region must contain: a tenth of the longest side, or less if S has less."""
    longest = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    margin = torch.minimum(0.1 * longest, 0.3 * (sizes - longest))[:, None]
    return torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)


def _most_together(needed: Tensor, candidates: Tensor, seed: int, side: Tensor) -> Tensor:
    """The largest set of candidates that a square of this side can contain together with the seed."""
    boxes = needed[candidates]
    # The best square can be moved until one box touches its left border and one its upper border.
    left, top = (boxes[:, axis][boxes[:, axis] <= needed[seed, axis]] for axis in (0, 1))
    left = left[left + side >= needed[seed, 2]]
    top = top[top + side >= needed[seed, 3]]
    tolerance = 1e-6 * side  # of the rounding of sums
    fits_x = (boxes[:, 0] >= left[:, None]) & (boxes[:, 2] <= left[:, None] + side + tolerance)
    fits_y = (boxes[:, 1] >= top[:, None]) & (boxes[:, 3] <= top[:, None] + side + tolerance)
    held = fits_x[:, None] & fits_y[None]
    counts = held.sum(2)
    best = int(counts.flatten().argmax())
    return candidates[held.flatten(0, 1)[best]]
