"""Masks of prompts from crops that are encoded once and kept: another point in the same box costs a decoding only."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from insight.errors import InputError
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.modeling.sopseg import EncodedCrops
from insight.modeling.sopseg.crops import cut_crops
from insight.modeling.sopseg.encoders import ImageFeatures
from insight.modeling.sopseg.prompt_form import in_form
from insight.modeling.sopseg.segment import PIXELS_AT_ONCE, decode_masks
from insight.structures.boxes import validate_boxes
from insight.structures.crop_plans import CropPlan, plan_crops, split_off_unseen_points, whole_image
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.points import validate_points
from insight.structures.prompts import Prompts, oriented_prompts
from insight.structures.rle import encode_logits

from .byte_cache import ByteCache
from .pixels import ArrayPixels, Pixels, Window

_VIEW = 1024  # pixels: points alone in an image that is not decoded whole are answered from a window of this side
_REGION = 8192  # pixels: largest side of the surroundings of a box that are read


@dataclass(frozen=True)
class Prompt:
    """The prompt of one object, in pixels of the image.

    Attributes:
        box: x1, y1, x2, y2, or None.
        oriented_box: corners (4, 2), or centre, size and angle (5), as `oriented_corners` takes them; or None.
        points: P points x, y, alone or with a box of either kind.
        labels: for each point 1 for foreground, 0 for background.
    """

    box: Sequence[float] | None = None
    oriented_box: Any = None
    points: Sequence[Sequence[float]] = ()
    labels: Sequence[int] = ()

    @property
    def weight(self) -> int:
        """What it counts against a limit of prompts."""
        return max(1, len(self.points))


class Mask(NamedTuple):
    """The mask of a prompt.

    Attributes:
        code: COCO's compressed RLE of the whole image.
        score: predicted IoU.
    """

    code: dict[str, Any]
    score: float


class _Row(NamedTuple):
    """A prompt as tensors, and the part of the image that it is answered from."""

    place: int
    prompts: Prompts  # of one object, in pixels of the view
    plan: CropPlan  # with one region, in pixels of the view
    view: Window
    size: int  # side of the crop

    @property
    def key(self) -> Hashable:
        region = tuple(round(value, 3) for value in self.plan.regions[0].tolist())
        return self.view[:2], region, self.plan.resized, self.size


class Segmenter:
    """Answers prompts by a SOPSeg model, and keeps the crops that it has encoded.

    Args:
        predictor: holds the model, and how it is prompted. Every object is answered from a crop of its own.
        cache_bytes: bound on the encoded crops.
    """

    def __init__(self, predictor: SOPSegPredictor, cache_bytes: int):
        self.predictor = predictor
        self.crops: ByteCache[EncodedCrops] = ByteCache(cache_bytes)
        self.model = predictor.model

    @torch.no_grad()
    def segment(self, pixels: Pixels, prompts: Sequence[Prompt]) -> list[Mask]:
        """Segment prompted objects of one image.

        Args:
            pixels: the image.
            prompts: N prompts, valid for it (see `check`).

        Returns:
            N masks.

        Raises:
            InputError: a prompt that is not valid.
            OSError: the image is damaged there.
        """
        rows = [self._row(pixels, place, prompt) for place, prompt in enumerate(prompts)]
        masks: list[Mask | None] = [None] * len(rows)
        for group in _alike(rows):
            size = group[0].size
            at_once = max(1, PIXELS_AT_ONCE[self._device.type] // size**2)
            for start in range(0, len(group), at_once):
                part = group[start : start + at_once]
                encoded = self._encoded(pixels, part)
                for row, mask in zip(part, self._decode(pixels.size, part, encoded)):
                    masks[row.place] = mask
        return masks  # type: ignore[return-value]

    def check(self, pixels: Pixels, prompt: Prompt) -> None:
        """Check a prompt.

        Args:
            pixels: its image.
            prompt: the prompt.

        Raises:
            InputError: it is not finite, has no area, lies outside the image, is too large, or has another shape.
        """
        self._row(pixels, 0, prompt)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _prompts(self, size: tuple[int, int], prompt: Prompt) -> Prompts:
        """In pixels of the image, in the form that the model was trained for."""
        points: Tensor | None = None
        labels: Tensor | None = None
        if len(prompt.points):
            points, labels = validate_points([prompt.points], [prompt.labels], size)
        elif len(prompt.labels):
            raise InputError("labels: given without points")
        if prompt.oriented_box is not None:
            if prompt.box is not None:
                raise InputError("box: expected a box or an oriented_box, got both")
            found = oriented_prompts(oriented_corners([prompt.oriented_box]))
            validate_boxes(found.boxes, size, name="oriented_boxes")
            found = in_form(found, self.model, self.predictor.prompt)
            if points is None or labels is None:
                return found
            if found.points is None or found.labels is None:
                return found._replace(points=points, labels=labels)
            both = torch.cat([found.labels, labels.to(found.labels)], 1)
            return found._replace(points=torch.cat([found.points, points], 1), labels=both)
        if prompt.box is not None:
            return Prompts(validate_boxes([prompt.box], size), points, labels)
        if points is None:
            raise InputError("prompt: expected a box, an oriented_box, or points with labels, got none of them")
        return Prompts(None, points, labels)

    def _row(self, pixels: Pixels, place: int, prompt: Prompt) -> _Row:
        height, width = pixels.size
        prompts = self._prompts(pixels.size, prompt)
        if self.predictor.magnify and prompts.boxes is not None:
            size = self.predictor.crop_size
            plan = plan_crops(prompts, pixels.size, size)
            x0, y0, x1, y1 = plan.regions[0].tolist()
            low, high = (max(0, math.floor(x0)), max(0, math.floor(y0))), (math.ceil(x1), math.ceil(y1))
            view = (*low, min(width, high[0]), min(height, high[1]))
            if max(view[2] - view[0], view[3] - view[1]) > _REGION:
                raise InputError(f"box: expected an object of at most {_REGION} pixels with its surroundings")
        else:
            size, view = self.predictor.whole_image_size, _view(prompts, pixels)
            plan = whole_image(1, (view[3] - view[1], view[2] - view[0]), size)
            return _Row(place, prompts.moved((-view[0], -view[1])), plan, view, size)
        plan = plan._replace(regions=plan.regions - _origin(view))
        return _Row(place, prompts.moved((-view[0], -view[1])), plan, view, size)

    def _encoded(self, pixels: Pixels, rows: list[_Row]) -> list[EncodedCrops]:
        """The crop of each row, encoded now where it is not kept."""
        keys = [(pixels.key, row.key) for row in rows]
        found = {key: self.crops.get(key) for key in dict.fromkeys(keys)}
        missing = {key: row for key, row in zip(keys, rows) if found[key] is None}
        if missing:
            crops = torch.cat([self._cut(pixels, row) for row in missing.values()])
            features = self.model.encode(crops)
            for i, key in enumerate(missing):
                one = EncodedCrops(crops[i : i + 1].clone(), _select(features, i))
                self.crops.put(key, one, _bytes(one))
                found[key] = one
        return [found[key] for key in keys]  # type: ignore[misc]

    def _cut(self, pixels: Pixels, row: _Row) -> Tensor:
        parameter = next(self.model.parameters())
        window = torch.from_numpy(pixels.read(row.view).transpose(2, 0, 1).copy())
        plan = row.plan._replace(regions=row.plan.regions.to(parameter.device, torch.float32))
        return cut_crops(window.to(parameter.device), plan, row.size).to(parameter)

    def _decode(self, image_size: tuple[int, int], rows: list[_Row], encoded: list[EncodedCrops]) -> list[Mask]:
        features = ImageFeatures(
            torch.cat([one.features.embedding for one in encoded]),
            torch.cat([one.features.shallow for one in encoded]),
            tuple(torch.cat(parts) for parts in zip(*(one.features.fine for one in encoded))),
        )
        crops = torch.cat([one.crops for one in encoded])
        regions = torch.cat([row.plan.regions for row in rows])
        together = Prompts(*(None if part[0] is None else torch.cat(part) for part in zip(*(r.prompts for r in rows))))
        plan = CropPlan(regions, torch.arange(len(rows)))
        origins = torch.cat([_origin(row.view) for row in rows])
        masks: list[Mask | None] = [None] * len(rows)
        for index, prompts, part in split_off_unseen_points(together, plan):
            own = part.regions[part.index].to(self._device)
            prompts = Prompts(*(None if value is None else value.to(self._device) for value in prompts))
            fine = tuple(feature[index] for feature in features.fine)
            chosen = ImageFeatures(features.embedding[index], features.shallow[index], fine)
            found = decode_masks(self.model, crops[index], chosen, prompts.to_crops(own, rows[0].size))
            places = regions[index].double() + origins[index].double()
            codes = encode_logits(found.logits[:, 0].float(), places, image_size)
            for i, code, score in zip(index.tolist(), codes, found.iou[:, 0].float().tolist()):
                masks[i] = Mask(code, score)
        return masks  # type: ignore[return-value]


def _alike(rows: list[_Row]) -> list[list[_Row]]:
    """Rows that can be decoded together, those of one crop side by side."""
    groups: dict[Hashable, list[_Row]] = {}
    for row in rows:
        shapes = tuple(None if part is None else part.shape[1:] for part in row.prompts)
        groups.setdefault((row.size, shapes), []).append(row)
    return [sorted(group, key=lambda row: repr(row.key)) for group in groups.values()]


def _view(prompts: Prompts, pixels: Pixels) -> Window:
    """The whole image, or of a raster that is read in windows one around the points, the same for points nearby."""
    height, width = pixels.size
    if isinstance(pixels, ArrayPixels):
        return 0, 0, width, height
    points = prompts.points[0] if prompts.points is not None else prompts.boxes.reshape(-1, 2)  # type: ignore[union-attr]
    low, high = points.amin(0).tolist(), points.amax(0).tolist()
    step = _VIEW // 2
    x0, y0 = (max(0, math.floor(value / step - 0.5)) * step for value in low)
    x1, y1 = (max(start + _VIEW, math.ceil(value / step + 0.5) * step) for start, value in zip((x0, y0), high))
    view = (x0, y0, min(width, x1), min(height, y1))
    if max(view[2] - x0, view[3] - y0) > _REGION:
        raise InputError(f"points: expected points of one object, at most {_REGION // 2} pixels apart")
    return view


def _origin(view: Window) -> Tensor:
    """(1, 4)."""
    return torch.tensor([[view[0], view[1], view[0], view[1]]], dtype=torch.float32)


def _select(features: ImageFeatures, i: int) -> ImageFeatures:
    part = slice(i, i + 1)
    fine = tuple(feature[part].clone() for feature in features.fine)
    return ImageFeatures(features.embedding[part].clone(), features.shallow[part].clone(), fine)


def _bytes(encoded: EncodedCrops) -> int:
    tensors = (encoded.crops, encoded.features.embedding, encoded.features.shallow, *encoded.features.fine)
    return sum(tensor.nbytes for tensor in tensors)
