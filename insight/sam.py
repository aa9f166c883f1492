"""A drop-in replacement for `segment_anything.SamPredictor`, with magnification for boxes.

A program written for SAM gets sharper masks of small objects by changing one import::

    from insight.sam import SamPredictor  # was: from segment_anything import SamPredictor
"""

import os
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from insight.errors import InputError
from insight.hub.finding import DEFAULT_SOPSEG, find, is_weight_file
from insight.inference.image_input import NoImageError
from insight.modeling.sopseg import PIXEL_MEAN, PIXEL_STD, SOPSeg, build_sopseg, image_masks, load_sopseg
from insight.modeling.sopseg.checkpoint import identify
from insight.modeling.sopseg.crop_size import default_crop_size
from insight.modeling.sopseg.encoders import MAX_SIZE, check_input_size
from insight.modeling.sopseg.segment import decode_masks
from insight.ops import crop_resize
from insight.structures.crop_plans import plan_crops
from insight.structures.prompts import Prompts

OUTSIDE = -20.0  # logits of magnified masks outside their region; about the lowest that SAM predicts


class SamPredictor:
    """A drop-in for `segment_anything.SamPredictor` that segments boxes in magnified crops.

    Methods have the signatures of segment-anything, with the same shapes, dtypes and frames. A prompt with a box is
    segmented in a crop around the box, magnified to `crop_size`; points alone are segmented in the whole image. With
    `magnify=False` the whole image is used for every prompt, and masks and logits equal those of segment-anything.

    Low-resolution logits of magnified prompts are resampled to SAM's frame, the whole padded image, so that they can be
    used as `mask_input` of any prompt and resized as in SAM. They are coarser than the mask; for refinement within the
    crop use `SOPSegPredictor.predict(mask_input=)`.

    The image is encoded when it is first needed, so boxes alone never encode the whole image.

    Args:
        sam_model: a model from `load_sopseg` or `sam_model_registry`, the name of a model (`insight.hub.find`), a
            checkpoint of SAM, MobileSAM or SOPSeg, or a `Sam` of segment_anything, whose weights are copied. A model
            stays on its device.
        magnify: segment boxes in magnified crops.
        crop_size: side of the crop around an object, pixels; a multiple of 64 up to 1024. None uses 512 with SAM's
            decoder, else 256, see `default_crop_size`.
        input_size: side of the encoder's input for the whole image, pixels; a multiple of 64 up to 1024, 1024 in
            segment-anything.

    Raises:
        CheckpointError: the checkpoint is missing or holds another model.
        InputError: an unsupported type of model, or an invalid size.

    Source: Kirillov et al. 2023, Segment Anything (segment_anything/predictor.py); SOPSeg, Figure 1, for magnification.

    Example:
        >>> predictor = SamPredictor("sam_vit_b_01ec64.pth")
        >>> predictor.set_image(image)
        >>> masks, scores, logits = predictor.predict(box=np.array([10, 20, 50, 60]), multimask_output=False)
    """

    def __init__(
        self,
        sam_model: SOPSeg | str | os.PathLike | nn.Module = DEFAULT_SOPSEG,
        *,
        magnify: bool = True,
        crop_size: int | None = None,
        input_size: int = MAX_SIZE,
    ):
        if crop_size is not None:
            check_input_size(crop_size, "crop_size")
        check_input_size(input_size, "input_size")
        self.model = _as_sopseg(sam_model).eval()
        self.transform = ResizeLongestSide(input_size)
        self.magnify, self._side = magnify, input_size
        self.crop_size = crop_size or default_crop_size(self.model)
        self.reset_image()

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    def reset_image(self) -> None:
        """Unset the image."""
        self.is_image_set = False
        self.original_size: Any = None  # (height, width) of the image that is set
        self.input_size: Any = None  # (height, width) once it is resized
        self._pixels: Any = None  # (3, H, W): the image at the resolution to magnify from
        self._input: Any = None  # (1, 3, s, s): normalised and padded
        self._features: Any = None

    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Set the image to predict on.

        Args:
            image: (H, W, 3) uint8.
            image_format: order of its channels, "RGB" or "BGR".

        Raises:
            InputError: an unsupported format, shape or dtype.
        """
        if image_format not in ("RGB", "BGR"):
            raise InputError(f'image_format: expected "RGB" or "BGR", got {image_format!r}')
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            got = f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise InputError(f"image: expected an array (H, W, 3) of uint8, got {got}")
        if image_format == "BGR":
            image = image[..., ::-1]
        resized = torch.from_numpy(self.transform.apply_image(image)).permute(2, 0, 1).contiguous()
        self.set_torch_image(resized[None].to(self.device), image.shape[:2])
        self._pixels = torch.from_numpy(image.transpose(2, 0, 1).copy()).to(self.device)

    @torch.no_grad()
    def set_torch_image(self, transformed_image: Tensor, original_image_size: tuple[int, int]) -> None:
        """Set an image that has been resized already; boxes are then magnified from the resized image.

        Args:
            transformed_image: (1, 3, h, w) RGB, pixel values 0 to 255, resized with `transform`.
            original_image_size: (height, width) before resizing.

        Raises:
            InputError: the wrong shape.
        """
        shape = tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != self._side:
            raise InputError(
                f"transformed_image: expected shape (1, 3, h, w) with a long side of {self._side}, got {shape}"
            )
        self.reset_image()
        self.original_size, self.input_size = tuple(original_image_size), shape[2:]
        self._pixels = transformed_image[0]
        self._input = self._preprocess(transformed_image.to(self.device))
        self.is_image_set = True

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict masks for one prompt on the image that is set.

        Args:
            point_coords: (N, 2) XY in pixels of the image, or None.
            point_labels: (N,), 1 for foreground and 0 for background points.
            box: (4,) XYXY in pixels of the image, or None.
            mask_input: (1, s / 4, s / 4) low-resolution logits of an earlier prediction, or None; s is `input_size`.
            multimask_output: return three masks instead of one.
            return_logits: return logits instead of binary masks.

        Returns:
            Masks (C, H, W), bool or float32; predicted IoU (C,); low-resolution logits (C, s / 4, s / 4).

        Raises:
            NoImageError: no image is set.
            InputError: points without labels, or more than one box; `predict_torch` accepts many.
        """
        if not self.is_image_set:
            raise NoImageError
        if point_coords is not None and point_labels is None:
            raise InputError("point_labels: expected one for each of point_coords, got none")
        coords = labels = boxes = earlier = None
        if point_coords is not None:
            coords = self._tensor(self.transform.apply_coords(np.asarray(point_coords), self.original_size))[None]
            labels = torch.as_tensor(np.asarray(point_labels), dtype=torch.int, device=self.device)[None]
        if box is not None:
            if np.asarray(box).size != 4:
                raise InputError(f"box: expected (4,) x1, y1, x2, y2, got shape {np.asarray(box).shape}")
            boxes = self._tensor(self.transform.apply_boxes(np.asarray(box), self.original_size))
        if mask_input is not None:
            earlier = self._tensor(np.asarray(mask_input))[None]
        found = self.predict_torch(coords, labels, boxes, earlier, multimask_output, return_logits=return_logits)
        masks, iou, low_res = (tensor[0].cpu().numpy() for tensor in found)
        return masks, iou, low_res

    @torch.no_grad()
    def predict_torch(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict masks for B prompts in the frame of the resized image.

        Args:
            point_coords: (B, N, 2) XY, transformed with `transform`, or None.
            point_labels: (B, N), 1 for foreground and 0 for background points.
            boxes: (B, 4) XYXY, transformed with `transform`, or None.
            mask_input: (B, 1, s / 4, s / 4) low-resolution logits, or None.
            multimask_output: return three masks for each prompt instead of one.
            return_logits: return logits instead of binary masks.

        Returns:
            Masks (B, C, H, W), bool or float; predicted IoU (B, C); low-resolution logits (B, C, s / 4, s / 4).

        Raises:
            NoImageError: no image is set.
        """
        if not self.is_image_set:
            raise NoImageError
        if boxes is not None:
            boxes = boxes.reshape(-1, 4)
        if mask_input is not None:
            mask_input = mask_input.to(self._input.dtype)
        prompts = Prompts(boxes, point_coords, point_labels, mask_input)
        if self.magnify and boxes is not None:
            logits, iou, low_res = self._magnified(prompts, multimask_output)
        else:
            found = decode_masks(self.model, self._input, self._encoded(), prompts, multimask=multimask_output)
            logits, iou, low_res = self._postprocess(found.logits), found.iou.float(), found.low_res.float()
        return logits if return_logits else logits > 0, iou, low_res

    def get_image_embedding(self) -> Tensor:
        """Return the embedding of the whole image.

        Returns:
            (1, C, s / 16, s / 16), where s is `input_size`.

        Raises:
            NoImageError: no image is set.
        """
        if not self.is_image_set:
            raise NoImageError
        return self._encoded().embedding

    @property
    def features(self) -> Tensor | None:
        """The embedding of the whole image, None without an image."""
        return self._encoded().embedding if self.is_image_set else None

    @torch.no_grad()
    def _encoded(self) -> Any:
        if self._features is None:
            self._features = self.model.encode(self._input)
        return self._features

    def _preprocess(self, image: Tensor) -> Tensor:
        mean, std = (image.new_tensor(values, dtype=torch.float32)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
        height, width = image.shape[2:]
        padded = F.pad((image - mean) / std, (0, self._side - width, 0, self._side - height))
        return padded.to(next(self.model.parameters()).dtype)

    def _postprocess(self, logits: Tensor) -> Tensor:
        """Logits (B, C, s, s) over the padded input as logits of the image."""
        height, width = self.input_size
        return F.interpolate(
            logits[..., :height, :width].float(), self.original_size, mode="bilinear", align_corners=False
        )

    def _magnified(self, prompts: Prompts, multimask: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the image, predicted IoU, and low-resolution logits in the frame of the whole padded image."""
        input_frame = self._tensor(self.input_size[::-1])
        to_pixels = self._tensor(self._pixels.shape[:0:-1]) / input_frame
        to_low_res = (input_frame / self._tensor(self.original_size[::-1]) / 4).repeat(2)
        boxes = self._tensor(prompts.boxes) * to_pixels.repeat(2)
        points = None if prompts.points is None else self._tensor(prompts.points) * to_pixels
        plan = plan_crops(Prompts(boxes, points, prompts.labels), self._pixels.shape[1:], self.crop_size)
        masks = None
        if prompts.masks is not None:
            regions = plan.regions / (4 * to_pixels).repeat(2)
            index = torch.arange(len(regions), device=self.device)
            masks = crop_resize(prompts.masks.float() - OUTSIDE, regions, self.crop_size // 4, image_index=index)
            masks = masks + OUTSIDE  # 0, which crop_resize gives outside the image, is no object there
        found = image_masks(
            self.model,
            self._pixels,
            Prompts(boxes, points, prompts.labels, masks),
            plan,
            self.crop_size,
            mask_size=self.original_size,
            multimask=multimask,
            keep_logits=True,
        )
        assert found.logits is not None
        logits = found.logits.to_image(self.original_size)
        coarse = found.logits._replace(crops=found.logits.low_res, regions=found.logits.regions * to_low_res.cpu())
        low_res = coarse.to_image((self._side // 4, self._side // 4))
        shape = (prompts.count, 3 if multimask else 1)
        logits, low_res = (
            x.masked_fill(x.isneginf(), OUTSIDE).unflatten(0, shape).to(self.device) for x in (logits, low_res)
        )
        return logits, found.iou.unflatten(0, shape).to(self.device), low_res

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)


class ResizeLongestSide:
    """segment-anything's transform: resizes images so that the long side has a given length, with their prompts.

    Args:
        target_length: the long side after resizing, pixels.
    """

    def __init__(self, target_length: int):
        self.target_length = target_length

    def apply_image(self, image: np.ndarray) -> np.ndarray:
        """Resize an image (H, W, C) of uint8, with Pillow's bilinear filter."""
        height, width = self.get_preprocess_shape(image.shape[0], image.shape[1], self.target_length)
        pixels = Image.fromarray(np.ascontiguousarray(image))
        return np.array(pixels.resize((width, height), Image.Resampling.BILINEAR))

    def apply_coords(self, coords: np.ndarray, original_size: tuple[int, int]) -> np.ndarray:
        """Transform points (..., 2) XY of an image of (height, width)."""
        return np.asarray(coords).astype(float) * np.array(self._scale(original_size))

    def apply_boxes(self, boxes: np.ndarray, original_size: tuple[int, int]) -> np.ndarray:
        """Transform boxes (B, 4) XYXY of an image of (height, width)."""
        return self.apply_coords(np.asarray(boxes).reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def apply_image_torch(self, image: Tensor) -> Tensor:
        """Resize images (B, C, H, W) of float; the pixels differ slightly from those of `apply_image`."""
        size = self.get_preprocess_shape(image.shape[-2], image.shape[-1], self.target_length)
        return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)

    def apply_coords_torch(self, coords: Tensor, original_size: tuple[int, int]) -> Tensor:
        """Transform points (..., 2) XY of an image of (height, width)."""
        return coords.float() * torch.tensor(self._scale(original_size), device=coords.device)

    def apply_boxes_torch(self, boxes: Tensor, original_size: tuple[int, int]) -> Tensor:
        """Transform boxes (B, 4) XYXY of an image of (height, width)."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """Return the (height, width) of an image after resizing."""
        scale = long_side_length / max(oldh, oldw)
        return int(oldh * scale + 0.5), int(oldw * scale + 0.5)

    def _scale(self, original_size: tuple[int, int]) -> tuple[float, float]:
        height, width = self.get_preprocess_shape(*original_size, self.target_length)
        return width / original_size[1], height / original_size[0]


def _build(encoder: str, checkpoint: str | os.PathLike | None = None) -> SOPSeg:
    """Build SAM with one of its encoders, with random weights or those of a checkpoint."""
    return build_sopseg(encoder, "sam").eval() if checkpoint is None else load_sopseg(checkpoint, encoder)


sam_model_registry = {name: partial(_build, name) for name in ("vit_t", "vit_b", "vit_l", "vit_h")}
sam_model_registry["default"] = sam_model_registry["vit_h"]


def _as_sopseg(model: Any) -> SOPSeg:
    if isinstance(model, SOPSeg):
        return model
    if isinstance(model, str | os.PathLike) and is_weight_file(model):
        return load_sopseg(model)
    if isinstance(model, str | os.PathLike):
        found = find(model)
        found.require_kind("sopseg")
        return load_sopseg(found.weights)
    if not isinstance(model, nn.Module):
        raise InputError(f"sam_model: expected a model or a checkpoint's path, got {type(model).__name__}")
    weights = model.state_dict()
    sopseg = build_sopseg(*identify(weights, type(model).__name__))
    try:
        sopseg.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"sam_model: expected segment_anything's Sam for 1024 pixels: {reason:.200}") from None
    parameter = next(model.parameters())
    return sopseg.to(parameter.device, parameter.dtype)
