"""Box prompts for training: ground-truth boxes, all or some, jittered as if a person had drawn them."""

import torch
from torch import Tensor

from insight.structures.boxes import jitter_boxes


def sample_box_prompts(boxes: Tensor, fraction: float, jitter: float, size: tuple[int, int]) -> Tensor:
    """Choose ground-truth boxes at random and jitter them.

    The draws come from torch's default generator: `torch.manual_seed` repeats them.

    Source: Insight Any Instance, section III-C.

    Args:
        boxes: (N, 4) XYXY, pixels.
        fraction: probability that a box is chosen.
        jitter: largest shift of an edge as a fraction of the box's side along it.
        size: (height, width) of the image, pixels.

    Returns:
        (M, 4) XYXY, pixels, M <= N; none is empty.
    """
    chosen = boxes[torch.rand(len(boxes), device=boxes.device) < fraction]
    limits = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    prompts = torch.minimum(jitter_boxes(chosen, jitter).clamp(min=0), limits)
    return prompts[(prompts[:, 2] > prompts[:, 0]) & (prompts[:, 3] > prompts[:, 1])]
