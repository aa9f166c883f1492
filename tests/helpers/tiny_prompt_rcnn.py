"""A promptable R-CNN small enough to build and run in a test, and inputs for it."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2")

from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

import insight

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

# The light model of configs/base without its weights, slimmer still.
TINY = [
    *("MODEL.DEVICE", "cpu", "MODEL.TIMM.WEIGHTS", "", "MODEL.TIMM.FROZEN_NORM", False, "MODEL.FPN.OUT_CHANNELS", 32),
    *("MODEL.ROI_HEADS.NUM_CLASSES", 3, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16),
    *("MODEL.ROI_BOX_HEAD.FC_DIM", 64, "MODEL.ROI_MASK_HEAD.CONV_DIM", 32),
    *("MODEL.RPN.POST_NMS_TOPK_TRAIN", 30, "MODEL.RPN.POST_NMS_TOPK_TEST", 20, "TEST.DETECTIONS_PER_IMAGE", 5),
    *("MODEL.PROMPT.LPM.DIM", 16, "MODEL.PROMPT.GPM.DIM", 32, "MODEL.PROMPT.GPM.NUM_HEADS", 4),
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0),
]


def make_config(*files, **options):
    """A config of files of configs/ on CPU; options name keys with a double underscore for a dot."""
    cfg = get_cfg()
    insight.add_insight_config(cfg)
    for file in files:
        cfg.merge_from_file(str(CONFIGS / file))
    cfg.MODEL.DEVICE = "cpu"
    for key, value in options.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def make_tiny_config(*files, **options):
    """The tiny model, plus files of configs/base and options."""
    cfg = make_config("base/light.yaml", *files)
    cfg.merge_from_list(TINY)
    for key, value in options.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def make_inputs(sizes=((96, 128), (96, 128)), objects=3, prompt_scale=1, seed=0):
    """Input dictionaries with noise images and rectangles as ground truth; sizes are (height, width)."""
    generator = torch.Generator().manual_seed(seed)
    inputs = []
    for height, width in sizes:
        corner = torch.rand(objects, 2, generator=generator) * torch.tensor([width - 40.0, height - 40.0])
        boxes = torch.cat([corner, corner + 12 + torch.rand(objects, 2, generator=generator) * 28], dim=1)
        masks = torch.zeros(objects, height, width, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
            mask[y1:y2, x1:x2] = True
        instances = Instances((height, width), gt_boxes=Boxes(boxes), gt_masks=BitMasks(masks))
        instances.gt_classes = torch.randint(0, 3, (objects,), generator=generator)
        full = (3, height * prompt_scale, width * prompt_scale)
        prompt_image = torch.randint(0, 256, full, generator=generator, dtype=torch.uint8)
        image = prompt_image[:, ::prompt_scale, ::prompt_scale].contiguous()
        entry = {"image": image, "instances": instances, "height": height, "width": width}
        inputs.append(entry | ({"prompt_image": prompt_image} if prompt_scale > 1 else {}))
    return inputs


def build(cfg, seed=0):
    torch.manual_seed(seed)
    return build_model(cfg)


def losses_of(model, inputs, seed=0):
    model.train()
    torch.manual_seed(seed)
    with EventStorage():
        return model(inputs)


def wake_prompts(model):
    """Give the fusion layers, which start small, weights large enough to matter."""
    for name, parameter in model.named_parameters():
        if ".fusion." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def silence_prompts(model):
    """Let prompts add nothing."""
    for name, parameter in model.named_parameters():
        if ".fusion." in name:
            torch.nn.init.zeros_(parameter)
    return model
