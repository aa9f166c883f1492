"""Masks of PromptRCNN as run-length codes."""

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import Boxes, Instances
from helpers.tiny_prompt_rcnn import build, make_tiny_config


def test_post_processing_gets_all_fields_on_the_device_of_the_boxes(monkeypatch):
    """Detectron2 selects rows by a mask on that device, which refuses a field on the CPU where the boxes are on a GPU.

    The device is "meta", as tests run without a GPU.
    """
    model = build(make_tiny_config())
    model.rle_masks = True
    found = Instances(
        (32, 32),
        pred_boxes=Boxes(torch.zeros(3, 4, device="meta")),
        scores=torch.zeros(3, device="meta"),
        pred_classes=torch.zeros(3, dtype=torch.int64, device="meta"),
        pred_masks=torch.zeros(3, 1, 28, 28, device="meta"),
    )
    seen = []

    def post_process(instances, batched_inputs, image_sizes):
        seen.extend(instances)
        return []

    monkeypatch.setattr(GeneralizedRCNN, "_postprocess", staticmethod(post_process))
    model._postprocess([found], [{}], [(32, 32)])
    assert {str(value.device) for value in seen[0].get_fields().values()} == {"meta"}
