"""Prompted and automatic prediction on one image at a time."""

import os
from collections.abc import Iterator

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

import insight.modeling.registration  # noqa: F401 (a config may come from another process)
from insight.data.formats.images import as_rgb, read_image
from insight.data.mappers.detection import AtLeastOnePixel
from insight.modeling.checkpointer import Checkpointer
from insight.modeling.sopseg import SOPSeg
from insight.structures.given_prompts import given_prompts
from insight.structures.prompts import Prompts
from insight.structures.rle import RLEMasks

from .box_correction import check_correct_boxes, corrected_where_far
from .classes import class_indices
from .masks import paste_masks

BOXES_AT_ONCE = 256  # bounds memory: RoI features and prompts of this many boxes exist at a time


class PromptPredictor:
    """Encode an image once, then ask for the class and mask of any boxes in it, as often as you like.

    Args:
        cfg_or_model: a config (the model is built and MODEL.WEIGHTS loaded into it), or a PromptRCNN.
        class_names: names of the classes; by default those saved with the checkpoint, else of DATASETS.TEST.
        min_size: the image's short side is resized to it for the network, pixels; default: INPUT.MIN_SIZE_TEST;
            800 for a model, which does not know its config's.
        max_size: the long side stays below it, pixels; default: INPUT.MAX_SIZE_TEST;
            1333 for a model.

    Raises:
        CheckpointError: the weights are missing or do not fit.
        ValueError: those of a SOPSeg branch do not, or class_names are of another number.
        TypeError: the model takes no prompts.

    Example:
        >>> predictor = PromptPredictor(cfg)
        >>> predictor.set_image("harbour.png")
        >>> instances = predictor.predict(boxes=[[10, 20, 50, 60]])
        >>> instances.pred_classes, instances.scores, instances.pred_masks.to_bitmaps()
    """

    def __init__(
        self,
        cfg_or_model: CfgNode | nn.Module,
        *,
        class_names: list[str] | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
    ):
        if isinstance(cfg_or_model, nn.Module):
            self.model = cfg_or_model
            sizes = (800, 1333)  # Detectron2's defaults
        else:
            cfg = cfg_or_model
            self.model = build_model(cfg.clone())
            more = Checkpointer(self.model, exact=True).load(cfg.MODEL.WEIGHTS, checkpointables=[])
            class_names = class_names or more.get("trainer", {}).get("class_names") or _registered_names(cfg)
            sizes = (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
            if sizes[0] < 0:
                raise ValueError(f"INPUT.MIN_SIZE_TEST: expected pixels, or 0 not to resize, got {sizes[0]}")
            if sizes[1] < 1:
                raise ValueError(f"INPUT.MAX_SIZE_TEST: expected pixels, at least 1, got {sizes[1]}")
        if isinstance(self.model, SOPSeg):
            raise TypeError(
                "SOPSeg neither finds nor classifies, as is asked here: SOPSegPredictor answers its prompts, "
                "tools/train_net.py --eval-only evaluates it"
            )
        if not hasattr(self.model, "segment_boxes"):
            raise TypeError(
                f"{type(self.model).__name__} takes no box prompts: set MODEL.META_ARCHITECTURE to PromptRCNN, "
                "which loads the same checkpoints"
            )
        if self.model.sopseg_branch is not None:
            self.model.sopseg_branch.load()
        self.model.eval()
        count = self.model.roi_heads.num_classes
        self.class_names = list(class_names or map(str, range(count)))
        if len(self.class_names) != count:
            raise ValueError(f"class_names: expected the names of {count} classes, got {len(self.class_names)}")
        resize = T.ResizeShortestEdge(
            min_size if min_size is not None else sizes[0], max_size if max_size is not None else sizes[1]
        )
        self._resize = AtLeastOnePixel(resize)
        self._encoded = None
        self.image_size: tuple[int, int] | None = None  # (height, width) in pixels, of the image that is set

    @torch.no_grad()
    def set_image(self, image: np.ndarray | str | os.PathLike, order: str = "RGB") -> None:
        """Encode an image; `predict` and `detect` then refer to it.

        Args:
            image: a file, or uint8 (H, W, 3); grey and alpha are understood too (see `insight.data.formats.images`).
            order: of the array's bands, "RGB" or "BGR" (OpenCV's, and what Detectron2's DefaultPredictor takes).

        Raises:
            OSError: the file cannot be read.
            ValueError: the image has another type or shape.
        """
        if order not in ("RGB", "BGR"):
            raise ValueError(f'order: expected "RGB" or "BGR", got {order!r}')
        if isinstance(image, (str, os.PathLike)):
            image, order = read_image(image), "RGB"
        image = as_rgb(image)
        if order != self.model.input_format:
            image = image[:, :, ::-1]
        resized = self._resize.get_transform(image).apply_image(image)
        self._encoded = self.image_size = None  # no answer is of an image whose encoding failed, or of the one before
        self._encoded = self.model.encode([{"image": _to_tensor(resized), "prompt_image": _to_tensor(image)}])
        self.image_size = image.shape[:2]

    @torch.no_grad()
    def predict(
        self, boxes=None, oriented_boxes=None, *, classes=None, correct_boxes: float = 0.0, mask_format: str = "rle"
    ) -> Instances:
        """Class and mask for each given box.

        A box says where, not what: without `classes` the box head tells the class. A mask is that of the class that the
        answer has, told or given, unless the model's masks are of no class (MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK, or a
        SOPSeg branch for all classes).

        Args:
            boxes: (N, 4) XYXY in pixels of the image that was set; tensor, array or nested list. A box may leave the
                image in part.
            oriented_boxes: (M, 5) centre x, centre y, width, height in pixels, angle in degrees, or (M, 8) or
                (M, 4, 2) corners. The detector sees the horizontal box around each; a SOPSeg branch sees their
                orientation. Follow `boxes` in the result.
            classes: what the boxes hold, where that is known: a name or an index from 0 for all, or one for each box in
                the order of the result. A score then is the probability of the class that was given.
            correct_boxes: for `boxes` drawn in haste: what the box head makes of a box takes its place where the two
                overlap, inside the image, with an IoU below this. 0, the default, takes every box at its word; 1
                corrects all. Oriented boxes stay as they are.
            mask_format: "rle" for `RLEMasks`, which is small and draws in Detectron2's Visualizer; "bitmap" for
                Detectron2's (N, H, W) bool tensor.

        Returns:
            Instances of the image, on the CPU, one for each box in its order: pred_boxes (as given, or corrected),
            pred_classes, scores, and pred_masks if the model has masks.

        Raises:
            RuntimeError: no image was set.
            ValueError: no boxes argument, a box that is NaN, inverted, without area or outside the image, a class that
                the model does not know, or a `correct_boxes` that is no IoU.
        """
        _check_mask_format(mask_format)
        check_correct_boxes(correct_boxes)
        image_size = self._require_image()
        groups = given_prompts(image_size, boxes, oriented_boxes)
        if not groups:
            raise ValueError("predict needs boxes or oriented_boxes; without prompts call detect()")
        count = sum(group.count for group in groups)
        given = None if classes is None else class_indices(classes, count, self.class_names)
        if boxes is not None and correct_boxes > 0:
            of_boxes = None if given is None else given[: groups[0].count]
            groups[0] = Prompts(self._corrected(groups[0].boxes, of_boxes, correct_boxes))
        prompts = torch.cat([group.boxes for group in groups])
        to_network = self._network_scale()
        parts = []
        for batch in _batches(count):
            of_batch = None if given is None else [given[batch]]
            found = self.model.segment_boxes(self._encoded, [prompts[batch] * to_network], of_batch)[0]
            parts.append(self._in_image(found, prompts[batch]))
        return self._with_masks(Instances.cat(parts), groups, mask_format)

    @torch.no_grad()
    def detect(self, *, mask_format: str = "rle") -> Instances:
        """Find the objects without prompts, as Detectron2's DefaultPredictor does.

        Args:
            mask_format: as in `predict`.

        Returns:
            Instances of the image, on the CPU, by falling score: pred_boxes (XYXY, pixels of the image), pred_classes,
            scores, and pred_masks if the model has masks.

        Raises:
            RuntimeError: no image was set.
        """
        _check_mask_format(mask_format)
        self._require_image()
        proposals, _ = self.model.proposal_generator(self._encoded.images, self._encoded.features, None)
        (found,), _ = self.model.roi_heads(self._encoded.images, self._encoded.features, proposals, None)
        boxes = Boxes(found.pred_boxes.tensor.cpu() / self._network_scale())
        boxes.clip(self.image_size)
        keep = boxes.nonempty()
        result = self._in_image(found[keep.to(found.scores.device)], boxes[keep].tensor)
        return self._with_masks(result, [Prompts(result.pred_boxes.tensor)], mask_format)

    def _require_image(self) -> tuple[int, int]:
        if self._encoded is None:
            raise RuntimeError("no image to predict on: call set_image(image) first")
        return self.image_size

    def _network_scale(self) -> Tensor:
        """(4,): pixels of the network's input to a pixel of the image, for XYXY."""
        network, image = self._encoded.images.image_sizes[0], self.image_size
        return torch.tensor([network[1] / image[1], network[0] / image[0]] * 2)

    def _corrected(self, boxes: Tensor, classes: Tensor | None, below: float) -> Tensor:
        to_network, parts = self._network_scale(), []
        for batch in _batches(len(boxes)):
            of_batch = None if classes is None else [classes[batch]]
            (corrected,) = self.model.correct_boxes(self._encoded, [boxes[batch] * to_network], of_batch)
            parts.append(corrected_where_far(boxes[batch], corrected.cpu() / to_network, below, self.image_size))
        return torch.cat(parts)

    def _in_image(self, found: Instances, boxes: Tensor) -> Instances:
        """`found` in the network's frame as a result in the image's, where its boxes are `boxes`."""
        result = Instances(self.image_size, pred_boxes=Boxes(boxes))
        result.pred_classes, result.scores = found.pred_classes.cpu(), found.scores.cpu()
        if self.model.has_own_masks:
            result.pred_masks = paste_masks(found.pred_masks[:, 0], boxes, self.image_size)
        return result

    def _with_masks(self, result: Instances, prompts: list[Prompts], mask_format: str) -> Instances:
        """The result with the masks of the SOPSeg branch, if there is one, and with masks in the format asked for."""
        branch = self.model.sopseg_branch
        if branch is not None:
            masks, start = [], 0
            for group in prompts:  # of one form each, in the order of the result
                of_group = result[start : start + group.count]
                own = of_group.pred_masks if self.model.has_own_masks else None
                source, classes = self._encoded.sources[0], of_group.pred_classes
                masks.append(branch.masks(source, group, self.image_size, classes, own))
                start += group.count
            result.pred_masks = RLEMasks.cat(masks)
        if mask_format == "bitmap" and result.has("pred_masks"):
            result.pred_masks = result.pred_masks.to_bitmaps()
        return result


def _batches(count: int) -> Iterator[slice]:
    """What the network does at once; at least one batch, so that a result has its fields also for no boxes."""
    for start in range(0, max(count, 1), BOXES_AT_ONCE):
        yield slice(start, start + BOXES_AT_ONCE)


def _check_mask_format(mask_format: str) -> None:
    if mask_format not in ("rle", "bitmap"):
        raise ValueError(f'mask_format: expected "rle" or "bitmap", got {mask_format!r}')


def _registered_names(cfg: CfgNode) -> list[str] | None:
    return MetadataCatalog.get(cfg.DATASETS.TEST[0]).get("thing_classes") if cfg.DATASETS.TEST else None


def _to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 array to (3, H, W) tensor."""
    return torch.from_numpy(image.transpose(2, 0, 1).copy())  # of one pixel, else a view of what may be read-only
