"""SOPSeg on images and prompts. Needs no Detectron2."""

import os
from typing import NamedTuple

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from insight.data.formats.images import as_rgb, read_image
from insight.modeling.sopseg import DECODERS, EncodedCrops, SOPSeg, encode_regions, image_masks, load_sopseg
from insight.modeling.sopseg.encoders import MAX_SIZE, check_input_size
from insight.runtime.machine import parse_device
from insight.structures.crop_plans import check_shared, plan_crops
from insight.structures.given_prompts import given_prompts
from insight.structures.rle import RLEMasks

CROP_SIZE = 256  # pixels, of the crop around an object, as in the paper


class PromptedMasks(NamedTuple):
    """What was found for N prompts, in their order.

    Attributes:
        masks: run-length encoded, of the whole image; `.to_bitmaps()` makes (N, H, W) bool, `.codes` is COCO RLE.
        scores: (N,) float32, the IoU of each mask with the true one, as the model predicts it.
        boxes: (N, 4) float32 XYXY in pixels of the image: as given, around the oriented box that was given, or for
            points alone around the mask.
    """

    masks: RLEMasks
    scores: Tensor
    boxes: Tensor


class SOPSegPredictor:
    """Masks of the objects that boxes, oriented boxes or points tell of.

    Each box is answered from a crop around it, magnified to 256 pixels, and, unless crops are shared, independently
    of all others. Memory does not grow with the number of prompts. For many questions about one image, clicks above
    all, `set_image` once.

    Args:
        weights: checkpoint of SOPSeg, or of SAM (`sam_vit_*.pth`, MobileSAM's); or a model, which is not copied: it is
            itself moved to `device`, cast to `dtype` and set to evaluation.
        encoder: "vit_t", "vit_b", "vit_l" or "vit_h", for an early error if the checkpoint holds another; None takes
            what it holds.
        decoder: "sam", "hq", "matting" or "edge", likewise.
        input_size: side of the crops, pixels; a multiple of 64 up to 1024. One checkpoint serves all. None: 256 for the
            crop around an object, 1024, as SAM, for the whole image.
        magnify: False looks at the whole image for every prompt, as SAM does.
        shared_crops: let close objects share a crop, in which each is magnified at this fraction of what it would be
            alone or more (0.8, say): faster, and a little coarser; 0: never.
        device: where to compute.
        dtype: what to compute in: torch.float32, or torch.bfloat16 for less memory, and faster on CPUs that know it
            (GPUs were not measured), with masks that differ at their edges. None takes a model as it is, checkpoints in
            float32.

    Raises:
        FileNotFoundError: no such checkpoint.
        TypeError: weights that are neither a file's name nor a SOPSeg.
        ValueError: a file that is corrupt, needs pickle, or holds another model; another input size, dtype or device.

    Source: SOPSeg, Figure 1.

    Example:
        >>> predictor = SOPSegPredictor("sopseg_vit_l.pth")
        >>> found = predictor.predict("harbour.png", oriented_boxes=[[35, 40, 60, 14, 30]])
        >>> found.scores, found.masks.to_bitmaps()
        >>> predictor.set_image("harbour.png")
        >>> clicked = predictor.predict(points=[[[30, 40]]], labels=[[1]])
    """

    def __init__(
        self,
        weights: str | os.PathLike | SOPSeg,
        *,
        encoder: str | None = None,
        decoder: str | None = None,
        input_size: int | None = None,
        magnify: bool = True,
        shared_crops: float = 0.0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ):
        check_shared(shared_crops)
        if input_size is not None:
            check_input_size(input_size, "input_size")
        if dtype not in (None, torch.float32, torch.bfloat16):
            raise ValueError(f"dtype: expected torch.float32 or torch.bfloat16, got {dtype}")
        if not isinstance(weights, SOPSeg | str | os.PathLike):
            raise TypeError(f"weights: expected the name of a checkpoint or a SOPSeg, got {type(weights).__name__}")
        device = parse_device(str(device), "device")
        model = weights if isinstance(weights, SOPSeg) else load_sopseg(weights, encoder)
        if decoder is not None and type(model.mask_decoder) is not DECODERS.get(decoder):
            held = next(name for name, kind in DECODERS.items() if kind is type(model.mask_decoder))
            raise ValueError(f"weights: {weights} holds the mask decoder {held!r}, expected {decoder!r}")
        self.model = model.for_inference(device, dtype)
        self.crop_size, self.whole_image_size = input_size or CROP_SIZE, input_size or MAX_SIZE
        self.magnify, self.shared_crops = magnify, shared_crops
        self._image: _Image | None = None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels, of the image that is set."""
        return None if self._image is None else self._image.size

    def set_image(self, image: np.ndarray | str | os.PathLike) -> None:
        """Keep an image; `predict` without one then refers to it.

        The whole image is encoded by the first prompt that needs it, points alone for example, and no more: the next
        ones only decode. Crops around boxes are encoded in every call. Another image takes the place of this one.

        Args:
            image: as `predict` takes it.

        Raises:
            OSError: the file cannot be read.
            ValueError: an image of another type or shape.
        """
        self._image = _Image(image)

    def predict(
        self,
        image: np.ndarray | str | os.PathLike | None = None,
        boxes=None,
        oriented_boxes=None,
        points=None,
        labels=None,
    ) -> PromptedMasks:
        """Segment the objects that are pointed at.

        Args:
            image: a file, or uint8 RGB (H, W, 3); grey and alpha are understood too (`insight.data.formats.images`).
                None: the one that was set; an image given here is forgotten after the call, and the other stays set.
            boxes: (N, 4) XYXY in pixels of the image; tensor, array or nested list. A box may leave the image in part.
            oriented_boxes: (M, 5) centre x, centre y, width, height in pixels, angle in degrees (counter-clockwise as
                displayed), or (M, 8) or (M, 4, 2) corners. Follow `boxes` in the result.
            points: (N, P, 2) XY in pixels of the image, P for each object: more about `boxes`, or all there is. Points
                alone do not tell the size of their object, so that it cannot be magnified: they are answered from the
                whole image, as SAM does.
            labels: (N, P), 1 for a point on the object, 0 for one beside it, -1 to fill up rows with fewer points.

        Returns:
            Masks, scores and boxes, on the CPU, one for each prompt in its order.

        Raises:
            OSError: the file cannot be read.
            RuntimeError: no image, here or set.
            ValueError: an image of another type or shape; no prompts; a prompt that is NaN, without area, wholly
                outside the image, or of the wrong shape.
        """
        seen = self._image if image is None else _Image(image)
        if seen is None:
            raise RuntimeError("no image to predict on: give one, or call set_image(image) first")
        groups = given_prompts(seen.size, boxes, oriented_boxes, points, labels)
        if not groups:
            raise ValueError("predict needs boxes, oriented_boxes or points with labels")
        answers = []
        for prompts in groups:
            magnified = self.magnify and prompts.boxes is not None
            size = self.crop_size if magnified else self.whole_image_size
            plan = plan_crops(prompts, seen.size, size, self.magnify, self.shared_crops)
            if not magnified and seen.whole is None:
                seen.whole = encode_regions(self.model, seen.pixels, plan, size)
            encoded = None if magnified else seen.whole
            masks, iou = image_masks(self.model, seen.pixels, prompts, plan, size, encoded=encoded)
            answers.append((masks, iou, _boxes_around(masks) if prompts.boxes is None else prompts.boxes))
        masks, scores, found_boxes = zip(*answers)
        return PromptedMasks(RLEMasks.cat(masks), torch.cat(scores), torch.cat(found_boxes))


class _Image:
    """An image that prompts refer to.

    Args:
        image: as `SOPSegPredictor.predict` takes it.

    Attributes:
        pixels: (3, H, W) uint8 RGB.
        size: (height, width).
        whole: the whole image encoded, once a prompt has needed it.
    """

    def __init__(self, image: np.ndarray | str | os.PathLike):
        pixels = read_image(image) if isinstance(image, str | os.PathLike) else as_rgb(image)
        self.pixels = torch.from_numpy(pixels.transpose(2, 0, 1).copy())  # whatever becomes of a caller's array
        self.size: tuple[int, int] = pixels.shape[:2]
        self.whole: EncodedCrops | None = None


def _boxes_around(masks: RLEMasks) -> Tensor:
    """(N, 4) XYXY; zeros for an empty mask."""
    x, y, width, height = torch.from_numpy(coco_mask.toBbox(masks.codes).reshape(-1, 4)).float().unbind(1)
    return torch.stack([x, y, x + width, y + height], 1)
