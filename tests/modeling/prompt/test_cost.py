"""What prompts cost a model with ResNet-50, as docs/model.md tells: multiply-adds counted by torch."""

import pytest
import torch
from helpers.tiny_prompt_rcnn import make_config
from torch.utils.flop_counter import FlopCounterMode

from insight.modeling.prompt import RegionPromptEncoder
from insight.modeling.prompt.pooler import PromptPooler
from insight.ops import has_ops


def attention_flops(local, global_tokens, *_, out_val=None, **__):
    """A product with the keys and one with the values, for each token and each global token."""
    rois, tokens, channels = local
    return 2 * 2 * rois * tokens * channels * global_tokens[1]


def multiply_adds(cfg, boxes):
    """Of an image at 800 x 800 with this many boxes: prompts, and their way into a 7 x 7 box feature."""
    encoder = RegionPromptEncoder.from_config(cfg).eval()
    feature = torch.zeros(boxes, 256, 7, 7)
    pooler = PromptPooler(lambda features, boxes: feature.clone(), encoder.prompt_channels, 256)
    mapping = {torch.ops.insight.global_to_local_attention: attention_flops}
    corner = torch.linspace(0, 700, boxes)[:, None].expand(-1, 2)
    given = torch.cat([corner, corner + 60], 1)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        context = encoder.encode_images([torch.zeros(3, 800, 800)], [(800, 800)])
        pooler([context], [type("", (), {"tensor": given})])
    return counter.get_total_flops() / 2


@pytest.mark.skipif(not has_ops(), reason="the compiled library is not built")
@pytest.mark.parametrize(
    "row, a_box, an_image", [("lpm", 4.8e6, 0), ("gpm", 6.7e6, 2.54e9), ("insight", 11.6e6, 2.54e9)]
)
def test_multiply_adds_are_those_of_the_docs(row, a_box, an_image):
    cfg = make_config("insight/mask_rcnn_r50_fpn.yaml", f"base/{row}.yaml")
    few, many = multiply_adds(cfg, 2), multiply_adds(cfg, 12)
    slope = (many - few) / 10
    assert slope == pytest.approx(a_box, rel=0.05)
    assert few - 2 * slope == pytest.approx(an_image, rel=0.05, abs=1e6)
