"""Answers of segment-anything's predictor and of ours for an image that must be resized."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from insight.modeling.sopseg import SOPSeg, segment_objects
from insight.structures.crop_plans import plan_crops
from insight.structures.prompts import Prompts


@torch.no_grad()
def sams_answers(sam, image: np.ndarray, prompts: Prompts, size: int) -> tuple[Tensor, Tensor]:
    """Logits (N, size, size) over the padded input, as `SamPredictor` computes them, and masks (N, H, W)."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(sam)
    predictor.transform.target_length = size
    predictor.set_image(image)
    shape = image.shape[:2]
    boxes, points, labels = prompts[:3]
    masks, _, low_res = predictor.predict_torch(
        None if points is None else predictor.transform.apply_coords_torch(points, shape),
        labels,
        None if boxes is None else predictor.transform.apply_boxes_torch(boxes, shape),
        multimask_output=False,
    )
    return F.interpolate(low_res, size, mode="bilinear", align_corners=False)[:, 0], masks[:, 0]


def our_logits(model: SOPSeg, image: np.ndarray, prompts: Prompts, size: int) -> Tensor:
    """The same of ours, without magnification."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    plan = plan_crops(prompts, image.shape[:2], size, magnify=False)
    batches = list(segment_objects(model, pixels, prompts, plan, size))
    return torch.cat([b.logits for b in batches])[torch.cat([b.index for b in batches]).argsort()]
