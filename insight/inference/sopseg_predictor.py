"""SOPSeg's predictor: masks from boxes, oriented boxes and points. Needs no Detectron2."""

import os
from typing import Any, Unpack

import torch

from insight.errors import InputError
from insight.hub import DEFAULT_SOPSEG, ModelFolder, find
from insight.modeling.sopseg import DECODERS, EncodedCrops, SOPSeg, encode_regions, image_masks, load_sopseg
from insight.modeling.sopseg.crop_size import MAGNIFIED, ZERO_SHOT, default_crop_size
from insight.modeling.sopseg.encoders import MAX_SIZE, check_input_size
from insight.modeling.sopseg.image_masks import CropLogits
from insight.modeling.sopseg.prompt_form import check_form, in_form
from insight.runtime.machine import parse_device
from insight.structures.crop_plans import check_shared, plan_crops
from insight.structures.prompt_inputs import to_numbers
from insight.structures.prompts import ParsedPrompts, Prompts, parse_prompts
from insight.structures.rle import RLEMasks

from .classes import Classes, label_classes
from .image_input import NoImageError, to_rgb
from .keywords import SOPSegKeywords
from .prediction import Prediction
from .shrinkage import ShrinkageCheck


class SOPSegPredictor:
    """Segment the objects indicated by boxes, oriented boxes or points.

    Each box is segmented in a crop around it, magnified to `input_size` pixels, independently of the other boxes unless
    crops are shared. Memory does not grow with the number of prompts.

    Args:
        weights: checkpoint of SOPSeg or SAM (`sam_vit_*.pth`, MobileSAM's); or a model, which is not copied but moved
            to `device`, cast to `dtype` and set to evaluation mode.
        encoder: required encoder, "vit_t", "vit_b", "vit_l" or "vit_h"; None accepts any.
        decoder: required decoder, "sam", "hq", "matting", "edge" or "fine"; None accepts any.
        input_size: side of the crops, pixels; a multiple of 64 up to 1024, for any checkpoint. None uses 256 for the
            crop around an object, 512 with SAM's decoder (see `default_crop_size`); and 1024, as in SAM, for the whole
            image.
        magnify: False uses the whole image for every prompt, as in SAM.
        prompt: form of oriented boxes, "oriented_box" (with points along their axes) or "box" (the horizontal boxes
            around them); None for the one that the checkpoint was trained for, see
            `insight.modeling.sopseg.prompt_form.in_form`.
        shared_crops: let nearby objects share a crop in which each has at least this fraction of its own magnification
            (0.8, say); faster and slightly coarser. 0 shares none.
        device: device to compute on.
        dtype: torch.float32, or torch.bfloat16 for less memory and, on CPUs that support it, more speed, with masks
            that differ at their edges. None keeps a model's dtype and loads checkpoints in float32.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or unsafe, or holds another model.
        InputError: an unsupported type of weights, or an invalid input size, dtype or device.

    Source: SOPSeg, Figure 1.

    Example:
        >>> predictor = SOPSegPredictor.from_pretrained()  # or SOPSegPredictor("sam_vit_b_01ec64.pth")
        >>> predictor.set_image("harbour.png")
        >>> ships = predictor.predict(oriented_boxes=[[35, 40, 60, 14, 30]])
        >>> ships.scores, np.asarray(ships.masks)
        >>> clicked = predictor.predict(points=[[30, 40]], labels=[1])
    """

    class_names = ("object",)  # SOPSeg has no classes

    def __init__(
        self,
        weights: str | os.PathLike | SOPSeg,
        *,
        encoder: str | None = None,
        decoder: str | None = None,
        input_size: int | None = None,
        magnify: bool = True,
        prompt: str | None = None,
        shared_crops: float = 0.0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
    ):
        check_shared(shared_crops)
        check_form(prompt)
        if input_size is not None:
            check_input_size(input_size, "input_size")
        if dtype not in (None, torch.float32, torch.bfloat16):
            raise InputError(f"dtype: expected torch.float32 or torch.bfloat16, got {dtype}")
        if not isinstance(weights, SOPSeg | str | os.PathLike):
            raise InputError(f"weights: expected a checkpoint's path or a SOPSeg, got {type(weights).__name__}")
        device = parse_device(str(device), "device")
        model = weights if isinstance(weights, SOPSeg) else load_sopseg(weights, encoder)
        if decoder is not None and type(model.mask_decoder) is not DECODERS.get(decoder):
            held = next(name for name, kind in DECODERS.items() if kind is type(model.mask_decoder))
            raise InputError(
                f"{weights}: expected the mask decoder {decoder!r}, got {held!r}; set decoder (in a config "
                f"MODEL.SOPSEG.DECODER) to {held}, or use weights that were trained with {decoder}"
            )
        self.model = model.for_inference(device, dtype)
        self.crop_size, self.whole_image_size = input_size or default_crop_size(model), input_size or MAX_SIZE
        self.magnify, self.prompt, self.shared_crops = magnify, prompt, shared_crops
        self._check_shrinkage = ShrinkageCheck("Points and, without magnify, boxes are segmented in the whole image")
        self._image: _Image | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike | ModelFolder = DEFAULT_SOPSEG,
        device: str | torch.device | None = None,
        **options: Unpack[SOPSegKeywords],
    ) -> "SOPSegPredictor":
        """Load a model by its name, or from a folder.

        Args:
            name_or_folder: a model that ships with the package or is in the cache, a model folder, or owner/name on the
                Hugging Face hub; see `insight.hub.find`.
            device: device to compute on; None for a GPU if there is one.
            options: arguments of the class, which override those of the model.

        Returns:
            The predictor.

        Raises:
            InsightError: an unknown name, a damaged model, or a model of another kind.
        """
        model = find(name_or_folder)
        model.require_kind("sopseg")
        assert model.architecture is not None
        keys = model.architecture
        default = ZERO_SHOT if keys.decoder == "sam" else MAGNIFIED
        keywords: SOPSegKeywords = {
            "encoder": keys.encoder,
            "decoder": keys.decoder,
            "input_size": None if keys.input_size == default else keys.input_size,
            "magnify": keys.magnify,
            "prompt": keys.prompt,
            **options,
        }
        return cls(model.weights, device=parse_device(str(device or "")), **keywords)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels of the image that is set; None before the first."""
        return None if self._image is None else self._image.size

    def set_image(self, image: Any, order: str = "RGB") -> None:
        """Set the image that `predict` refers to; it replaces the previous one.

        The first prompt that needs the whole image, such as points alone, encodes it; later prompts only decode. Crops
        around boxes are encoded in every call.

        Args:
            image: a path, an array (H, W, 3) uint8, a Pillow image of any mode, or a tensor (3, H, W) uint8; see
                `to_rgb`.
            order: order of the channels of an array or tensor, "RGB" or "BGR".

        Raises:
            OSError: the file cannot be read.
            InputError: an unsupported type, shape or dtype.
        """
        self._image = self._loaded(image, order)

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
        multimask: bool = False,
        mask_input: Any = None,
        return_logits: bool = False,
    ) -> Prediction:
        """Segment the prompted objects.

        Args:
            boxes: (N, 4) XYXY in pixels of the image, or one box (4,): numbers in any form, Detectron2's `Boxes`, or
                detections of supervision or ultralytics. A box may extend beyond the image.
            oriented_boxes: (M, 5) centre x, centre y, width, height in pixels, angle in degrees (counter-clockwise as
                displayed), or (M, 8) or (M, 4, 2) corners, or one such box; Detectron2's `RotatedBoxes`, or detections
                of supervision or ultralytics. They follow `boxes` in the result.
            points: (N, P, 2) XY in pixels of the image, P for each object, alone or with `boxes`; (P, 2) for one
                object. Points alone do not give the size of their object, so it cannot be magnified: they are answered
                from the whole image, as in SAM.
            labels: (N, P), or (P,) for one object: 1 for foreground, 0 for background, -1 to pad rows with fewer
                points.
            classes: names or indices, for all prompts or one per prompt. SOPSeg has no classes; they are only recorded
                in the result.
            image: an image for this call only; None uses the image that was set.
            order: order of the channels of `image`, as in `set_image`.
            multimask: return SAM's three masks (whole, part, subpart) for each prompt. The result has 3 N instances,
                three per prompt in a row; `prompt_ids` holds the prompt of each.
            mask_input: (N, s / 4, s / 4) logits, the `logits.low_res` of an earlier prediction for the same prompts
                without `multimask`, or a selection from one with it.
            return_logits: keep the logits of the masks in `logits`; they need memory for every prompt.

        Returns:
            One instance for each prompt in order, with masks and, as scores, predicted IoU.

        Raises:
            OSError: the file cannot be read.
            NoImageError: no image was set or given.
            InputError: an invalid image, no prompts, or a prompt that is not finite, has no area, lies entirely outside
                the image, or has another shape.
        """
        seen = self._image if image is None else self._loaded(image, order)
        if seen is None:
            raise NoImageError
        parsed = parse_prompts(seen.size, boxes, oriented_boxes, points, labels)
        if not parsed.groups:
            raise InputError("predict: expected boxes, oriented_boxes, or points with labels, got none of them")
        count = parsed.count
        if parsed.corners is not None:
            parsed.groups[-1] = in_form(parsed.groups[-1], self.model, self.prompt)
        groups = parsed.groups if mask_input is None else self._with_masks(parsed, mask_input)
        class_ids, categories = (None, self.class_names) if classes is None else label_classes(classes, count)
        answers = []
        for prompts in groups:
            magnified = self.magnify and prompts.boxes is not None
            size = self._side(prompts)
            plan = plan_crops(prompts, seen.size, size, self.magnify, self.shared_crops)
            if not magnified and seen.whole is None:
                self._check_shrinkage(seen.size, size / max(seen.size))
                seen.whole = encode_regions(self.model, seen.pixels, plan, size)
            encoded = None if magnified else seen.whole
            answers.append(
                image_masks(
                    self.model,
                    seen.pixels,
                    prompts,
                    plan,
                    size,
                    encoded=encoded,
                    multimask=multimask,
                    keep_logits=return_logits,
                )
            )
        masks = RLEMasks.cat([answer.masks for answer in answers])
        prompt_ids = torch.arange(count).repeat_interleave(3 if multimask else 1)
        kept = [answer.logits for answer in answers if answer.logits is not None]
        return Prediction(
            seen.size,
            boxes=masks.boxes() if parsed.boxes is None else parsed.boxes[prompt_ids],
            scores=torch.cat([answer.iou for answer in answers]),
            masks=masks,
            oriented_boxes=None if parsed.oriented_boxes is None else parsed.oriented_boxes[prompt_ids],
            class_ids=None if class_ids is None else class_ids[prompt_ids],
            categories=categories,
            prompt_ids=prompt_ids,
            logits=CropLogits(*map(torch.cat, zip(*kept))) if kept else None,
        )

    def _loaded(self, image: Any, order: str) -> "_Image":
        return _Image(image, order, next(self.model.parameters()).device)

    def _side(self, prompts: Prompts) -> int:
        """Side of the crops that prompts are segmented in, pixels."""
        return self.crop_size if self.magnify and prompts.boxes is not None else self.whole_image_size

    def _with_masks(self, parsed: ParsedPrompts, mask_input: Any) -> list[Prompts]:
        count, side = parsed.count, self._side(parsed.groups[0]) // 4
        masks = to_numbers(mask_input, "mask_input", f"(N, {side}, {side}) logits")
        if masks.ndim == 4 and masks.shape[1] == 1:
            masks = masks[:, 0]
        if masks.shape != (count, side, side):
            raise InputError(f"mask_input: expected shape ({count}, {side}, {side}), got {tuple(masks.shape)}")
        parts = masks[:, None].split([group.count for group in parsed.groups])
        return [group._replace(masks=part) for group, part in zip(parsed.groups, parts)]


class _Image:
    """An image that prompts refer to.

    Args:
        image, order: as `SOPSegPredictor.set_image` takes them.
        device: the model's, to which the pixels go once, not with every call.

    Attributes:
        pixels: (3, H, W) uint8 RGB, on the device.
        size: (height, width).
        whole: the encoded whole image, once a prompt has needed it.
    """

    def __init__(self, image: Any, order: str, device: torch.device):
        pixels = to_rgb(image, order)
        # A copy: the caller may change theirs.
        self.pixels = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(device)
        self.size: tuple[int, int] = pixels.shape[:2]
        self.whole: EncodedCrops | None = None
