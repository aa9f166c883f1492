"""SOPSeg behind a detector: a mask for each of its boxes, read from the image at full resolution."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from insight.structures.crop_plans import check_shared, plan_crops
from insight.structures.prompts import Prompts
from insight.structures.rle import RLEMasks

from .checkpoint import load_sopseg
from .encoders import check_input_size
from .image_masks import image_masks
from .model import SOPSeg


class SOPSegBranch:
    """The mask branch that a detector can borrow.

    It is no part of the detector: it is not trained with it, its weights stay in a file of their own and out of the
    detector's checkpoints, and are read by `load` or when the first mask is asked for.

    Args:
        weights: checkpoint of SOPSeg or SAM.
        input_size: side of the crops, pixels; a multiple of 64 up to 1024.
        channels: "RGB" or "BGR", of the images that it will be given.
        shared_crops: let close objects share a crop, at this fraction of their own magnification or more; 0: never.
        classes: indices of the detector's classes that get their masks here, the others keeping the detector's own;
            empty: all.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: crops of this size are not possible, or shared_crops is neither 0 nor between 0 and 1.
    """

    def __init__(
        self,
        weights: str | os.PathLike,
        input_size: int = 256,
        channels: str = "RGB",
        shared_crops: float = 0.0,
        classes: Sequence[int] = (),
    ):
        if not Path(weights).is_file():
            raise FileNotFoundError(f"MODEL.SOPSEG_BRANCH.WEIGHTS: {str(weights)!r} is no file; name a checkpoint")
        check_input_size(input_size, "MODEL.SOPSEG_BRANCH.INPUT_SIZE")
        check_shared(shared_crops)
        self.weights, self.input_size, self.channels = weights, input_size, channels
        self.shared_crops, self.classes = shared_crops, tuple(classes)
        self._model: SOPSeg | None = None

    def load(self) -> SOPSeg:
        """Read the weights, once; `masks` does so too, but a long run wants to know at its start that they fit.

        Returns:
            The model.

        Raises:
            ValueError: a file that is corrupt, needs pickle, or holds another model.
        """
        if self._model is None:
            try:
                self._model = load_sopseg(self.weights)
            except ValueError as error:
                reason = str(error).removeprefix("weights: ")
                raise ValueError(f"MODEL.SOPSEG_BRANCH.WEIGHTS: {reason}") from error
        return self._model

    def masks(
        self,
        image: Tensor,
        prompts: Prompts,
        mask_size: tuple[int, int],
        classes: Tensor,
        own: RLEMasks | None = None,
    ) -> RLEMasks:
        """Segment what is in boxes, those of its classes.

        Args:
            image: (3, h, w) uint8 in the order of `channels`, on the device to compute on: a view of what the boxes
                are in, the sharper the better.
            prompts: N prompts with boxes, in pixels of an image of `mask_size`.
            mask_size: (height, width) of the masks.
            classes: (N,) int64, what the boxes hold.
            own: the detector's N masks; only asked for where the branch has `classes`.

        Returns:
            The N masks, in order.

        Raises:
            ValueError: a file that is corrupt, needs pickle, or holds another model.
        """
        if not self.classes:
            return self._segment(image, prompts, mask_size)
        here = torch.isin(classes, torch.tensor(self.classes, device=classes.device)).to(prompts.boxes.device)
        return own.replace(here, self._segment(image, prompts.select(here), mask_size))

    def _segment(self, image: Tensor, prompts: Prompts, mask_size: tuple[int, int]) -> RLEMasks:
        model = self.load()
        if self.channels == "BGR":
            image = image.flip(0)
        height, width = image.shape[1:]
        to_image = torch.tensor([width / mask_size[1], height / mask_size[0]], device=prompts.boxes.device)
        points = None if prompts.points is None else prompts.points * to_image
        prompts = Prompts(prompts.boxes * to_image.repeat(2), points, prompts.labels)
        plan = plan_crops(prompts, (height, width), self.input_size, shared=self.shared_crops)
        return image_masks(model.to(image.device), image, prompts, plan, self.input_size, mask_size).masks
