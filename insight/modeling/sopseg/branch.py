"""SOPSeg as the mask branch of a detector: masks of its boxes, from the image at full resolution."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from insight.checkpoint import CheckpointError
from insight.errors import InputError
from insight.structures.crop_plans import check_shared, plan_crops
from insight.structures.prompts import Prompts
from insight.structures.rle import RLEMasks

from .checkpoint import load_sopseg
from .encoders import check_input_size
from .image_masks import image_masks
from .model import SOPSeg
from .prompt_form import in_form


class SOPSegBranch:
    """A mask branch for detectors.

    It is not a submodule of the detector and not trained with it. Its weights stay in a separate file, outside the
    detector's checkpoints; `load` or the first call of `masks` reads them.

    Args:
        weights: checkpoint of SOPSeg or SAM.
        input_size: side of the crops, pixels; a multiple of 64 up to 1024.
        channels: channel order of the images, "RGB" or "BGR".
        shared_crops: let close objects share a crop, at this fraction of their own magnification or more; 0: never.
        classes: indices of the detector's classes that get these masks; the others keep the detector's own. Empty for
            all classes.

    Raises:
        CheckpointError: the checkpoint does not exist.
        InputError: input_size or shared_crops out of range.
    """

    def __init__(
        self,
        weights: str | os.PathLike,
        input_size: int = 256,
        channels: str = "RGB",
        shared_crops: float = 0.0,
        classes: Sequence[int] = (),
    ):
        if not os.path.isfile(weights):
            raise CheckpointError(f"MODEL.SOPSEG_BRANCH.WEIGHTS: expected a checkpoint, got {os.fspath(weights)!r}")
        check_input_size(input_size, "MODEL.SOPSEG_BRANCH.INPUT_SIZE")
        check_shared(shared_crops)
        self.weights, self.input_size, self.channels = weights, input_size, channels
        self.shared_crops, self.classes = shared_crops, tuple(classes)
        self._model: SOPSeg | None = None

    def load(self) -> SOPSeg:
        """Read the weights, once. Call it at the start of a long run, so that wrong weights fail early.

        Returns:
            The model.

        Raises:
            CheckpointError: the file is damaged or unsafe, or holds another model.
        """
        if self._model is None:
            try:
                self._model = load_sopseg(self.weights)
            except CheckpointError as error:
                raise CheckpointError(f"MODEL.SOPSEG_BRANCH.WEIGHTS: {error}") from None
        return self._model

    def masks(
        self,
        image: Tensor,
        prompts: Prompts,
        mask_size: tuple[int, int],
        classes: Tensor,
        own: RLEMasks | None = None,
    ) -> RLEMasks:
        """Segment the objects in boxes of the branch's classes.

        Args:
            image: (3, h, w) uint8, channels in the order of `channels`, on the device to compute on; a view of the
                image at any resolution, best the highest.
            prompts: N prompts with boxes, in pixels of an image of `mask_size`.
            mask_size: (height, width) of the masks.
            classes: (N,) int64, class indices of the boxes.
            own: the detector's N masks; required if the branch is limited to some classes.

        Returns:
            The N masks, in order.

        Raises:
            CheckpointError: the file is damaged or unsafe, or holds another model.
            InputError: the branch is limited to some classes, and there are no masks for the others.
        """
        if not self.classes:
            return self._segment(image, prompts, mask_size)
        if own is None:
            raise InputError("own: expected the detector's masks, for the classes that are not the branch's, got None")
        here = torch.isin(classes, torch.tensor(self.classes, device=classes.device)).to(prompts.boxes.device)
        return own.replace(here, self._segment(image, prompts.select(here), mask_size))

    def _segment(self, image: Tensor, prompts: Prompts, mask_size: tuple[int, int]) -> RLEMasks:
        model = self.load()
        if self.channels == "BGR":
            image = image.flip(0)
        height, width = image.shape[1:]
        to_image = torch.tensor([width / mask_size[1], height / mask_size[0]], device=prompts.boxes.device)
        points = None if prompts.points is None else prompts.points * to_image
        corners = None if prompts.corners is None else prompts.corners * to_image
        prompts = Prompts(prompts.boxes * to_image.repeat(2), points, prompts.labels, corners=corners)
        if points is not None:  # of oriented boxes; a detector has no others
            prompts = in_form(prompts, model)
        plan = plan_crops(prompts, (height, width), self.input_size, shared=self.shared_crops)
        return image_masks(model.to(image.device), image, prompts, plan, self.input_size, mask_size).masks
