"""The predictor for detectors: prompted and automatic prediction on one image at a time."""

import copy
import itertools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

import insight.modeling.registration  # noqa: F401 (a config may come from another process)
from insight.config import is_sopseg
from insight.data.mappers.detection import AtLeastOnePixel
from insight.errors import InputError
from insight.hub import DEFAULT_DETECTOR, ModelFolder, find
from insight.hub.configs import model_config
from insight.modeling.checkpointer import Checkpointer
from insight.modeling.mask_pasting import paste_masks
from insight.modeling.proposal_generator.cells import proposal_limits_times, propose_in_cells
from insight.modeling.sopseg import SOPSeg
from insight.runtime.machine import parse_device
from insight.runtime.notices import silence_notices
from insight.structures.prompts import ParsedPrompts, Prompts, parse_prompts
from insight.structures.rle import RLEMasks

from .box_correction import check_correct_boxes, corrected_where_far
from .classes import Classes, class_indices
from .image_input import NoImageError, to_rgb
from .keywords import PromptKeywords
from .prediction import Prediction
from .score_threshold import check_score_threshold
from .shrinkage import ShrinkageCheck

BOXES_AT_ONCE = 256  # bounds memory: RoI features and prompts of this many boxes exist at a time
_SOPSEG_ELSEWHERE = "SOPSeg neither detects nor classifies; use SOPSegPredictor for its prompts"


class PromptPredictor:
    """Encode an image once, then predict the class and mask of any boxes in it.

    Args:
        cfg_or_model: a config (the model is built and MODEL.WEIGHTS loaded), or a PromptRCNN.
        class_names: names of the classes; default: the names saved with the checkpoint, else those of DATASETS.TEST.
        min_size: the image's short side is resized to this for the network, pixels; default: INPUT.MIN_SIZE_TEST, or
            800 for a model.
        max_size: upper bound of the long side, pixels; default: INPUT.MAX_SIZE_TEST, or 1333 for a model.

    Attributes:
        class_names: names of the classes.
        gsd: smallest and largest ground sampling distance of the training images, metres per pixel, to which scenes
            are resampled; None if it is not known. Models by name have it.

    Raises:
        CheckpointError: the weights are missing or do not fit.
        InputError: the weights of a SOPSeg branch do not fit, class_names has the wrong length, or the model does not
            accept prompts.

    Example:
        >>> predictor = PromptPredictor.from_pretrained()  # or PromptPredictor(cfg)
        >>> predictor.set_image("harbour.png")
        >>> found = predictor.predict(boxes=[[10, 20, 50, 60]])
        >>> found.class_names, found.scores, np.asarray(found.masks)
    """

    def __init__(
        self,
        cfg_or_model: CfgNode | nn.Module,
        *,
        class_names: list[str] | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
    ):
        silence_notices()
        self.model: Any  # a PromptRCNN
        if isinstance(cfg_or_model, nn.Module):
            self.model = cfg_or_model
            sizes = (800, 1333)  # Detectron2's defaults
            trained = 800
        else:
            cfg = cfg_or_model
            if is_sopseg(cfg):
                raise InputError(_SOPSEG_ELSEWHERE)
            if cfg.MODEL.META_ARCHITECTURE not in META_ARCH_REGISTRY:
                raise InputError(f"MODEL.META_ARCHITECTURE: unknown model {cfg.MODEL.META_ARCHITECTURE!r}")
            self.model = build_model(cfg.clone())
            more = Checkpointer(self.model, exact=True).load(cfg.MODEL.WEIGHTS, checkpointables=[])
            class_names = class_names or more.get("trainer", {}).get("class_names") or _registered_names(cfg)
            sizes = (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
            trained = max(cfg.INPUT.MIN_SIZE_TRAIN)
            if sizes[0] < 0:
                raise InputError(f"INPUT.MIN_SIZE_TEST: expected pixels, or 0 for no resizing, got {sizes[0]}")
            if sizes[1] < 1:
                raise InputError(f"INPUT.MAX_SIZE_TEST: expected pixels, at least 1, got {sizes[1]}")
        if isinstance(self.model, SOPSeg):
            raise InputError(_SOPSEG_ELSEWHERE)
        if not hasattr(self.model, "segment_boxes"):
            raise InputError(
                f"{type(self.model).__name__} does not accept box prompts: set MODEL.META_ARCHITECTURE to PromptRCNN, "
                "which loads the same checkpoints"
            )
        if self.model.sopseg_branch is not None:
            self.model.sopseg_branch.load()
        self.model.eval()
        count = self.model.roi_heads.num_classes
        self.class_names = list(class_names or map(str, range(count)))
        if len(self.class_names) != count:
            raise InputError(f"class_names: expected the names of {count} classes, got {len(self.class_names)}")
        resize = T.ResizeShortestEdge(
            min_size if min_size is not None else sizes[0], max_size if max_size is not None else sizes[1]
        )
        self._resize = AtLeastOnePixel(resize)
        self._check_shrinkage = ShrinkageCheck(
            f"Its short side becomes {sizes[0] if min_size is None else min_size} pixels (INPUT.MIN_SIZE_TEST), its "
            f"long side at most {sizes[1] if max_size is None else max_size} (INPUT.MAX_SIZE_TEST)"
        )
        self.gsd: tuple[float, float] | None = None
        self._image: _Image | None = None
        self._usual_area = ((sizes[0] if min_size is None else min_size) or trained) ** 2  # 0: no resizing
        self._limits_grow = False

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike | ModelFolder = DEFAULT_DETECTOR,
        device: str | torch.device | None = None,
        *,
        score_threshold: float | None = None,
        **options: Unpack[PromptKeywords],
    ) -> "PromptPredictor":
        """Load a detector by its name, or from a folder.

        Args:
            name_or_folder: a model that ships with the package or is in the cache, a model folder, or owner/name on the
                Hugging Face hub; see `insight.hub.find`.
            device: device to compute on; None for a GPU if there is one.
            score_threshold: lowest score of a detection, 0 to 1; None for the model's own.
            options: arguments of the class, which override those of the model.

        Returns:
            The predictor.

        Raises:
            InsightError: an unknown name, a damaged model, or a model of another kind.
        """
        model = find(name_or_folder)
        model.require_kind("detector")
        threshold = model.score_threshold if score_threshold is None else check_score_threshold(score_threshold)
        keys = {"MODEL.DEVICE": str(parse_device(str(device or ""))), "MODEL.ROI_HEADS.SCORE_THRESH_TEST": threshold}
        cfg = model_config(model, list(itertools.chain(*keys.items())))
        keywords: PromptKeywords = {"class_names": list(model.class_names), **options}
        predictor = cls(cfg, **keywords)
        predictor.gsd = model.gsd
        return predictor

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels of the image that is set; None before the first."""
        return None if self._image is None else self._image.size

    def for_tiles(self) -> "PromptPredictor":
        """Return a predictor of the same model for tiles of a scene, which resizes none of them.

        The numbers of proposals and of detections in an image, which are limited for images of
        min_size x min_size pixels (where nothing is resized, of the largest INPUT.MIN_SIZE_TRAIN), may grow with the
        area of a tile; `set_tile` limits them in every part of the scene instead.
        """
        tiles = copy.copy(self)
        tiles._resize = AtLeastOnePixel(T.ResizeShortestEdge(0, 1))  # 0: no resizing
        tiles._image, tiles._limits_grow = None, True
        return tiles

    @torch.no_grad()
    def set_image(self, image: Any, order: str = "RGB") -> None:
        """Encode an image; `predict` and `detect` then refer to it.

        Args:
            image: a path, an array (H, W, 3) uint8, a Pillow image of any mode, or a tensor (3, H, W) uint8; see
                `to_rgb`.
            order: order of the channels of an array or tensor, "RGB" or "BGR" (as in OpenCV and Detectron2's
                DefaultPredictor).

        Raises:
            OSError: the file cannot be read.
            InputError: an unsupported type, shape or dtype.
        """
        self._set(to_rgb(image, order), None)

    @torch.no_grad()
    def set_tile(self, tile: np.ndarray, origin: tuple[int, int]) -> None:
        """Encode a tile of a scene as `set_image` does, with the context and the limits of the scene.

        The context that GPM and SCNet's context head read is not the tile but windows that are fixed in the scene, and
        the number of proposals is limited in cells that are fixed in the scene. So both are the same for an object in
        the core of a tile whatever the tile, where tiles begin and end at multiples of 256 pixels and overlap by 256.

        Args:
            tile: (H, W, 3) uint8 RGB.
            origin: (x, y) of its corner in the scene, pixels.

        Raises:
            InputError: an unsupported shape or dtype.
            RuntimeError: the predictor resizes images; call `for_tiles` first.
        """
        if not self._limits_grow:
            raise RuntimeError("set_tile needs a predictor that resizes nothing; call for_tiles() first")
        self._set(to_rgb(tile, "RGB"), origin)

    def _set(self, pixels: np.ndarray, origin: tuple[int, int] | None) -> None:
        self._image = None  # if encoding fails, no later call refers to the previous image
        self._image = self._encode(pixels, origin)

    @torch.no_grad()
    def predict(
        self,
        *,
        boxes: Any = None,
        oriented_boxes: Any = None,
        points: Any = None,
        labels: Any = None,
        classes: Classes | None = None,
        image: Any = None,
        order: str = "RGB",
        correct_boxes: float = 0.0,
    ) -> Prediction:
        """Predict the class and mask of each given box.

        A box indicates where an object is; without `classes` the box head predicts what it is. The mask is that of the
        predicted or given class, unless the model's masks do not depend on the class
        (MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK, or a SOPSeg branch for all classes).

        Args:
            boxes: (N, 4) XYXY in pixels of the image, or one box (4,): numbers in any form, Detectron2's `Boxes`, or
                detections of supervision or ultralytics. A box may extend beyond the image.
            oriented_boxes: (M, 5) centre x, centre y, width, height in pixels, angle in degrees (counter-clockwise as
                displayed), or (M, 8) or (M, 4, 2) corners, or one such box; Detectron2's `RotatedBoxes`, or detections
                of supervision or ultralytics. The detector sees the horizontal box around each, a SOPSeg branch also
                the orientation. They follow `boxes` in the result.
            points, labels: not supported by detectors, with or without a SOPSeg branch; use `SOPSegPredictor`.
            classes: known classes: names or indices from 0, for all boxes or one per box. Scores are then the
                probabilities of these classes.
            image: an image for this call only; None uses the image that was set.
            order: order of the channels of `image`, as in `set_image`.
            correct_boxes: for loose `boxes`: a box is replaced by the box head's regression if the IoU of the two,
                inside the image, is below this. 0 corrects no box, 1 corrects all. Oriented boxes are never corrected.

        Returns:
            One instance for each box in order, with `boxes` as given or corrected, and masks if the model has them.

        Raises:
            OSError: the file cannot be read.
            NoImageError: no image was set or given.
            InputError: an invalid image, no boxes, points, a box that is not finite, inverted, without area or entirely
                outside the image, an unknown class, or a `correct_boxes` that is not an IoU.
        """
        check_correct_boxes(correct_boxes)
        if points is not None or labels is not None:
            raise InputError("points: a detector accepts only boxes and oriented_boxes; use SOPSegPredictor for points")
        seen = self._require_image() if image is None else self._encode(to_rgb(image, order))
        parsed = parse_prompts(seen.size, boxes, oriented_boxes)
        if not parsed.groups:
            raise InputError("predict: expected boxes or oriented_boxes, got neither; detect() needs no prompts")
        count = parsed.count
        given = None if classes is None else class_indices(classes, count, self.class_names)
        horizontal = parsed.groups[0].boxes if boxes is not None else None
        if horizontal is not None and correct_boxes > 0:
            of_boxes = None if given is None else given[: len(horizontal)]
            parsed.groups[0] = Prompts(self._corrected(seen, horizontal, of_boxes, correct_boxes))
        prompts = parsed.boxes
        assert prompts is not None  # points are refused above
        to_network = seen.network_scale()
        parts = []
        for batch in _batches(count):
            of_batch = None if given is None else [given[batch]]
            found = self.model.segment_boxes(seen.encoded, [prompts[batch] * to_network], of_batch)[0]
            parts.append(self._in_image(seen, found, prompts[batch]))
        return self._prediction(seen, Instances.cat(parts), parsed)

    @torch.no_grad()
    def detect(self) -> Prediction:
        """Detect objects without prompts, like Detectron2's DefaultPredictor.

        Returns:
            The detections by descending score, with masks if the model has them.

        Raises:
            NoImageError: no image was set.
        """
        return self.detect_where(lambda boxes: torch.ones(len(boxes), dtype=torch.bool))

    @torch.no_grad()
    def detect_where(self, keep: Callable[[Tensor], Tensor]) -> Prediction:
        """Detect objects as `detect` does, but only in boxes that pass a test; no masks are computed for the others.

        Args:
            keep: takes (N, 4) float XYXY, pixels of the image, and returns (N,) bool. With a SOPSeg branch, whose masks
                may reach beyond their boxes, it is not called and all are kept.

        Returns:
            The detections by descending score, with masks if the model has them.

        Raises:
            NoImageError: no image was set.
        """
        seen, heads = self._require_image(), self.model.roi_heads
        proposals, most = self._propose(seen)
        with _at_most(self.model, most), _boxes_alone(heads):
            (found,), _ = heads(seen.encoded.images, seen.encoded.features, proposals, None)
        boxes = Boxes(found.pred_boxes.tensor.cpu() / seen.network_scale())
        boxes.clip(seen.size)
        kept = boxes.nonempty()
        if self.model.sopseg_branch is None:
            kept &= keep(boxes.tensor)
        (found,) = heads.forward_with_given_boxes(seen.encoded.features, [found[kept.to(found.scores.device)]])
        result = self._in_image(seen, found, boxes[kept].tensor)
        return self._prediction(seen, result, ParsedPrompts([Prompts(result.pred_boxes.tensor)], None))

    @torch.no_grad()
    def propose(self) -> Tensor:
        """Propose boxes of objects of any class: what the RoI heads of `detect` classify.

        Returns:
            (P, 4) float32 XYXY on the CPU, pixels of the image, best first; of a tile, cell by cell of its scene.

        Raises:
            NoImageError: no image was set.
        """
        seen = self._require_image()
        (proposals,), _ = self._propose(seen)
        return proposals.proposal_boxes.tensor.float().cpu() / seen.network_scale()

    def _propose(self, seen: "_Image") -> tuple[list[Instances], int]:
        """Proposals of an image, and the most detections that it may have."""
        generator, encoded = self.model.proposal_generator, seen.encoded
        if seen.origin is not None:
            proposals = propose_in_cells(generator, encoded.images, encoded.features, seen.origin, self._usual_area)
            return proposals, len(proposals[0])
        factor = max(1.0, math.prod(seen.size) / self._usual_area) if self._limits_grow else 1.0
        with proposal_limits_times(generator, factor):
            proposals, _ = generator(encoded.images, encoded.features, None)
        return proposals, round(_last_predictor(self.model).test_topk_per_image * factor)

    def _encode(self, image: np.ndarray, origin: tuple[int, int] | None = None) -> "_Image":
        """Encode (H, W, 3) uint8 RGB; `origin` as in `set_tile`."""
        if self.model.input_format == "BGR":
            image = image[:, :, ::-1]
        resized = self._resize.get_transform(image).apply_image(image)
        self._check_shrinkage(image.shape[:2], resized.shape[0] / image.shape[0])
        inputs = {"image": _to_tensor(resized), "prompt_image": _to_tensor(image), "origin": origin}
        encoded = self.model.encode([inputs])
        return _Image(encoded, image.shape[:2], origin)

    def _require_image(self) -> "_Image":
        if self._image is None:
            raise NoImageError
        return self._image

    def _corrected(self, seen: "_Image", boxes: Tensor, classes: Tensor | None, below: float) -> Tensor:
        to_network, parts = seen.network_scale(), []
        for batch in _batches(len(boxes)):
            of_batch = None if classes is None else [classes[batch]]
            (corrected,) = self.model.correct_boxes(seen.encoded, [boxes[batch] * to_network], of_batch)
            parts.append(corrected_where_far(boxes[batch], corrected.cpu() / to_network, below, seen.size))
        return torch.cat(parts)

    def _in_image(self, seen: "_Image", found: Instances, boxes: Tensor) -> Instances:
        """Transform instances from the network's frame to the image's, in which their boxes are `boxes`."""
        result = Instances(seen.size, pred_boxes=Boxes(boxes))
        result.pred_classes, result.scores = found.pred_classes.cpu(), found.scores.cpu()
        if self.model.has_own_masks:
            result.pred_masks = paste_masks(found.pred_masks[:, 0], boxes, seen.size)
        return result

    def _prediction(self, seen: "_Image", result: Instances, prompts: ParsedPrompts) -> Prediction:
        """The instances as a prediction, with the masks of the SOPSeg branch if there is one."""
        branch = self.model.sopseg_branch
        if branch is not None:
            masks, start = [], 0
            for group in prompts.groups:  # in the order of the result
                of_group = result[start : start + group.count]
                own = of_group.pred_masks if self.model.has_own_masks else None
                source, classes = seen.encoded.sources[0], of_group.pred_classes
                masks.append(branch.masks(source, group, seen.size, classes, own))
                start += group.count
            result.pred_masks = RLEMasks.cat(masks)
        prediction = Prediction.from_instances(result, self.class_names)
        prediction.oriented_boxes = prompts.oriented_boxes
        return prediction


class _Image(NamedTuple):
    """An encoded image.

    Attributes:
        encoded: the model's `EncodedImages` of this one image.
        size: (height, width) in pixels.
        origin: (x, y) of its corner in the scene of which it is a tile, pixels; None for a whole image.
    """

    encoded: Any
    size: tuple[int, int]
    origin: tuple[int, int] | None

    def network_scale(self) -> Tensor:
        """Return the pixels of the network's input per pixel of the image, (4,), for XYXY."""
        network, image = self.encoded.images.image_sizes[0], self.size
        return torch.tensor([network[1] / image[1], network[0] / image[0]] * 2)


def _last_predictor(model: Any) -> Any:
    heads = model.roi_heads.box_predictor
    return heads[-1] if isinstance(heads, nn.ModuleList) else heads


@contextmanager
def _at_most(model: Any, detections: int) -> Iterator[None]:
    """Set the limit on the number of detections."""
    predictor = _last_predictor(model)
    before = predictor.test_topk_per_image
    try:
        predictor.test_topk_per_image = detections
        yield
    finally:
        predictor.test_topk_per_image = before


@contextmanager
def _boxes_alone(heads: Any) -> Iterator[None]:
    """Turn the mask branch of RoI heads off."""
    before = heads.mask_on
    try:
        heads.mask_on = False
        yield
    finally:
        heads.mask_on = before


def _batches(count: int) -> Iterator[slice]:
    """Batches of boxes; at least one, so that a result has all its fields even without boxes."""
    for start in range(0, max(count, 1), BOXES_AT_ONCE):
        yield slice(start, start + BOXES_AT_ONCE)


def _registered_names(cfg: CfgNode) -> list[str] | None:
    return MetadataCatalog.get(cfg.DATASETS.TEST[0]).get("thing_classes") if cfg.DATASETS.TEST else None


def _to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 array to (3, H, W) tensor."""
    return torch.from_numpy(image.transpose(2, 0, 1).copy())  # a copy: the array may be read-only
