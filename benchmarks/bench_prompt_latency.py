"""The latency of box prompts on an encoded image, from one box to a thousand.

Ours is `PromptPredictor.predict` of the model with LPM and GPM, from boxes to run-length masks. The rivals are the same
model without prompt modules (whose projections are zero, so both must give the same results), ours including the
encoding of the image, ours with a known class (the first, for all boxes), and ours with correction of all boxes. The
paper reports 40 ms per prompt after encoding, for images of 800 x 800 on an RTX 3090.

All cases take about ten minutes on two CPU threads, half of that for ResNet-50 with 1,000 boxes;
--only "prompt_latency/light" leaves ResNet-50 out.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import torch
from detectron2.modeling import build_model
from harness import Case, Rival
from torch import Tensor, nn

from insight import PromptPredictor
from insight.config import load_config
from insight.modeling.prompt import projects_prompts

COUNTS = (1, 10, 100, 1000)


def cases(device: torch.device) -> Iterator[Case]:
    """The light model at 512 x 512, and that of the paper at 800 x 800."""
    for model, config, side in (("light", "nwpu_light", 512), ("mask_rcnn_r50_fpn", "mask_rcnn_r50_fpn", 800)):
        generator = np.random.default_rng(0)
        image = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
        # Each is built, and encodes the image, when a case is run, and once.
        prompted, plain = (cache(partial(_predictor, config, on, image, device)) for on in (True, False))
        for count in COUNTS:
            corners = generator.uniform(0, side - 60, (count, 2))
            boxes = np.hstack([corners, corners + generator.uniform(8, 60, (count, 2))])
            yield Case(
                f"{model} at {side} x {side}, {count:,} boxes",
                partial(_answer, prompted, boxes),
                {
                    "without prompt modules": Rival(partial(_answer, plain, boxes)),
                    "encoding too": Rival(partial(_encode_and_answer, prompted, image, boxes)),
                    "class given": Rival(partial(_answer, prompted, boxes, classes=0), tolerance=None),
                    "boxes corrected": Rival(partial(_answer, prompted, boxes, correct_boxes=1.0), tolerance=None),
                },
                note="on a CPU" * (device.type == "cpu") + f"; divide by {count:,} for one prompt" * (count > 1),
            )


def _predictor(config: str, prompts: bool, image: np.ndarray, device: torch.device) -> PromptPredictor:
    options = ["MODEL.DEVICE", str(device), "MODEL.WEIGHTS", "", "MODEL.TIMM.WEIGHTS", ""]
    for part in ("LPM", "GPM"):
        options += [f"MODEL.PROMPT.{part}.ENABLED", prompts]
    torch.manual_seed(0)
    model = build_model(load_config(config, options).clone())
    for name, parameter in model.named_parameters():
        if projects_prompts(name):
            nn.init.zeros_(parameter)
    predictor = PromptPredictor(model, min_size=len(image), max_size=len(image))
    predictor.set_image(image)
    return predictor


def _answer(predictor: Callable[[], PromptPredictor], boxes: np.ndarray, **how: float) -> tuple[Tensor, Tensor]:
    found = predictor().predict(boxes=boxes, **how)
    return found.scores, found.class_ids


def _encode_and_answer(
    predictor: Callable[[], PromptPredictor], image: np.ndarray, boxes: np.ndarray
) -> tuple[Tensor, Tensor]:
    predictor().set_image(image)
    return _answer(predictor, boxes)
