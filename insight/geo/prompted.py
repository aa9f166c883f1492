"""Masks of prompts in a scene, from the windows around them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight.errors import InputError
from insight.inference.prediction import Prediction
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.modeling.sopseg import image_masks
from insight.modeling.sopseg.prompt_form import in_form
from insight.runtime.digests import digest
from insight.structures.crop_plans import CropPlan, plan_crops
from insight.structures.points import FOREGROUND
from insight.structures.prompts import ParsedPrompts, Prompts

from .detect import for_tiles, pieces_of, set_tile
from .found import Piece, cut_out
from .raster import Raster, Window
from .tiles import Tile, TileGrid
from .work import Found, Results, model_settings

_AT_ONCE = 64  # prompts that are read and answered together
_CELL = 512  # pixels: prompts are answered cell by cell
_LARGEST = 2**22  # pixels of a window that several prompts share
_WRITTEN = 4096  # objects assembled at a time


class MagnifiedPrompts:
    """SOPSeg's masks of prompts, as the jobs of a run.

    A prompt is segmented in its own magnified crop, and prompts are grouped only by their place in the scene. So
    there are no tiles that an answer could depend on.

    Args:
        raster: the scene.
        model: the predictor.
        prompts: N prompts, scene pixels.
        classes: N names of their classes; None for SOPSeg's own, "object".

    Raises:
        InputError: the predictor answers from the whole image (`magnify` is False).
    """

    unit = "group"

    def __init__(
        self, raster: Raster, model: SOPSegPredictor, prompts: ParsedPrompts, classes: Sequence[str] | None = None
    ):
        if not model.magnify:
            raise InputError("model: magnify is False, but a scene is no image that can be seen whole; leave it True")
        self.raster, self._model = raster, model
        self.categories = list(model.class_names) if classes is None else sorted(set(classes))
        self._class_ids = None if classes is None else [self.categories.index(name) for name in classes]
        self.settings = {"model": model_settings(model), "prompts": prompts_digest(prompts)}
        if classes is not None:  # the masks do not depend on them, but the result does
            self.settings["classes"] = digest(*(name.encode() for name in classes))
        self._prompts = list(prompts.groups)
        if prompts.corners is not None:
            self._prompts[-1] = in_form(self._prompts[-1], model.model, model.prompt)
        self._count = prompts.count
        self._starts = np.cumsum([0, *(group.count for group in self._prompts)]).tolist()
        self._jobs: dict[str, tuple[int, Tensor, CropPlan, Window]] = {}
        for number, group in enumerate(self._prompts):
            for members in _neighbours(_regions(group, raster.size, model), raster.size):
                part = group.select(members)
                plan = self._plan(part)
                self._jobs[f"{number},{int(members[0])}"] = (number, members, plan, _window(plan.regions, raster.size))
        self.keys = list(self._jobs)

    def read(self, key: str) -> np.ndarray:
        return self.raster.read(self._jobs[key][3])

    def answer(self, key: str, pixels: np.ndarray) -> Any:
        number, members, plan, window = self._jobs[key]
        origin = torch.tensor(window[:2], dtype=torch.float32)
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        local = self._prompts[number].select(members).moved((-window[0], -window[1]))
        # Exact: float32 holds what is left of a number when whole pixels are taken away.
        plan = plan._replace(regions=plan.regions - origin.repeat(2))
        size = self._model.crop_size if local.boxes is not None else self._model.whole_image_size
        return image_masks(self._model.model, image, local, plan, size)

    def pack(self, key: str, answer: Any) -> list:
        number, members, _, window = self._jobs[key]
        packed = []
        for member, code, score in zip(members.tolist(), answer.masks, answer.iou.tolist()):
            piece = cut_out(code, window[:2], 0, score)
            packed.append([self._starts[number] + member, 0, score, piece and piece.to_json()])
        return packed

    def found(self, results: Results) -> Iterator[Found]:
        for found in in_order(self.keys, results, self._count):
            if self._class_ids is not None and found.prompts is not None:
                found = found._replace(class_ids=[self._class_ids[i] for i in found.prompts])
            yield found

    def _plan(self, group: Prompts) -> CropPlan:
        if group.boxes is None:
            return CropPlan(_regions(group, self.raster.size, self._model), torch.arange(group.count))
        return plan_crops(group, self.raster.size, self._model.crop_size, shared=self._model.shared_crops)


class TilePrompts:
    """A detector's classes and masks of boxes, each from the tile that shows it best, as the jobs of a run.

    Args:
        raster: the scene.
        model: a predictor with `set_image` and `predict`, such as `PromptPredictor`.
        prompts: N boxes, scene pixels.
        grid: the tiles.

    Raises:
        InputError: there are points, which a detector does not take.
    """

    unit = "tile"

    def __init__(self, raster: Raster, model: Any, prompts: ParsedPrompts, grid: TileGrid):
        if prompts.boxes is None or prompts.groups[0].points is not None and prompts.corners is None:
            raise InputError("points: a detector accepts only boxes and oriented_boxes; use SOPSeg for points")
        self.raster = raster
        self.settings = {"model": model_settings(model), "prompts": prompts_digest(prompts), **grid.settings}
        self._model = for_tiles(model)
        self.categories = list(model.class_names)
        self._boxes, self._corners = prompts.boxes, prompts.corners
        self._horizontal = len(self._boxes) - (0 if self._corners is None else len(self._corners))
        self._jobs: dict[str, tuple[Tile, list[int]]] = {}
        for i, box in enumerate(self._boxes.tolist()):
            tile = grid.tile_of(box)
            self._jobs.setdefault(tile.key, (tile, []))[1].append(i)
        self.keys = sorted(self._jobs, key=lambda key: self._jobs[key][0][:2])

    def read(self, key: str) -> np.ndarray:
        return self.raster.read(self._jobs[key][0].window)

    def answer(self, key: str, pixels: np.ndarray) -> Prediction:
        tile, members = self._jobs[key]
        origin = torch.tensor(tile.window[:2], dtype=torch.float32)
        horizontal = [i for i in members if i < self._horizontal]
        oriented = [i - self._horizontal for i in members if i >= self._horizontal]
        set_tile(self._model, pixels, self._jobs[key][0])
        return self._model.predict(
            boxes=self._boxes[horizontal] - origin.repeat(2) if horizontal else None,
            oriented_boxes=self._corners[oriented] - origin if oriented else None,  # type: ignore[index]
        )

    def pack(self, key: str, answer: Prediction) -> list:
        tile, members = self._jobs[key]
        rows = zip(members, answer.class_ids.tolist(), answer.scores.tolist(), pieces_of(answer, tile))
        return [[i, class_id, score, piece and piece.to_json()] for i, class_id, score, piece in rows]

    def found(self, results: Results) -> Iterator[Found]:
        return in_order(self.keys, results, len(self._boxes))


def in_order(keys: Sequence[str], results: Results, count: int) -> Iterator[Found]:
    """Put the answers to prompts in the order of the prompts.

    Args:
        keys: names of the jobs, each of whose results is a list of [prompt, class, score, mask or None].
        results: results of the jobs.
        count: number of prompts.

    Yields:
        Their objects, some at a time.
    """
    rows: list[list] = [[]] * count
    for key in keys:
        for row in results[key]:
            rows[row[0]] = row
    for start in range(0, count, _WRITTEN):
        numbers, classes, scores, pieces = map(list, zip(*rows[start : start + _WRITTEN]))
        yield Found([p and Piece.from_json(p) for p in pieces], classes, scores, numbers)


def prompts_digest(prompts: ParsedPrompts) -> str:
    """Return the digest of prompts."""
    parts = [part for group in prompts.groups for part in group if part is not None]
    shapes = str([[part is None for part in group] for group in prompts.groups]).encode()
    return digest(shapes, *(part.contiguous().numpy().tobytes() for part in parts))


def _regions(group: Prompts, size: tuple[int, int], model: SOPSegPredictor) -> Tensor:
    """(N, 4) the region that each prompt is segmented in; around points, a square as large as SAM's input."""
    if group.boxes is not None:
        return plan_crops(group, size, model.crop_size).regions
    assert group.points is not None and group.labels is not None
    foreground = group.labels.eq(FOREGROUND)[..., None]
    low = group.points.masked_fill(~foreground, torch.inf).amin(1)
    high = group.points.masked_fill(~foreground, -torch.inf).amax(1)
    if not (low.isfinite() & high.isfinite()).all():
        raise InputError("points: expected a foreground point for each object of a scene")
    side = torch.maximum((high - low).amax(1, keepdim=True) * 2, low.new_tensor(float(model.whole_image_size)))
    corner = ((low + high) / 2 - side / 2).floor()
    return torch.cat([corner, corner + side], 1)


def _neighbours(regions: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Indices of prompts that are close together, (n,) int64 each; they depend on nothing but the regions."""
    centres = (regions[:, :2] + regions[:, 2:]).double() / 2
    cells = (centres / _CELL).floor()
    order = np.lexsort((np.arange(len(regions)), cells[:, 0], cells[:, 1])).tolist()
    members: list[int] = []
    for i in order:
        if members:
            x0, y0, x1, y1 = _window(regions[[*members, i]], size)
            if len(members) == _AT_ONCE or (x1 - x0) * (y1 - y0) > _LARGEST:
                yield torch.tensor(members)
                members = []
        members.append(i)
    if members:
        yield torch.tensor(members)


def _window(regions: Tensor, size: tuple[int, int]) -> Window:
    """The window of the scene that holds regions; at least one pixel where they lie outside."""
    x0, y0 = regions[:, :2].amin(0).floor().long().tolist()
    x1, y1 = regions[:, 2:].amax(0).ceil().long().tolist()
    height, width = size
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    return x0, y0, max(min(x1, width), x0 + 1), max(min(y1, height), y0 + 1)
