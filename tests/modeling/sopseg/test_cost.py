"""Multiply-adds and parameters against the budgets that the paper's tables imply."""

import math
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from insight.modeling.sopseg import ImageFeatures, build_sopseg
from insight.modeling.sopseg.encoders import build_encoder
from insight.structures.prompts import Prompts

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")


def count_by_torch(module: nn.Module, *inputs: torch.Tensor) -> float:
    """Multiply-adds by torch's own counter; works without computing (meta tensors)."""
    with FlopCounterMode(display=False) as counter:
        module.eval()(*inputs)
    return counter.get_total_flops() / 2


def count_by_fvcore(module: nn.Module, *inputs: torch.Tensor) -> float:
    """Multiply-adds by fvcore, which needs a real run and a handler for attention."""
    fvcore = pytest.importorskip("fvcore.nn", reason="fvcore comes with Detectron2")

    def attention(inputs, outputs):
        query, key, value = (x.type().sizes() for x in inputs[:3])
        return Counter({"attention": math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])})

    count = fvcore.FlopCountAnalysis(module.eval(), inputs)
    count.set_op_handle("aten::scaled_dot_product_attention", attention)
    count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    total = count.total()
    assert not [op for op in count.unsupported_ops() if "mm" in op or "matmul" in op or "attention" in op]
    return total


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def padded_encoder() -> nn.Module:
    """segment-anything's ViT-L with the position table of 256 x 256 input."""
    from segment_anything import sam_model_registry

    encoder = sam_model_registry["vit_l"]().image_encoder
    encoder.pos_embed = nn.Parameter(encoder.pos_embed[:, :16, :16])
    return encoder


@pytest.mark.parametrize("size, budget", [(256, 82e9), (512, 340e9)])
def test_encoder_computes_no_padding(size, budget):
    with torch.device("meta"):
        assert count_by_torch(build_encoder("vit_l"), torch.zeros(1, 3, size, size)) < budget


def test_padding_costs_half_as_much_again():
    """The count is fair: segment-anything's own encoder comes out at the known cost."""
    with torch.device("meta"):
        assert 122e9 < count_by_torch(padded_encoder(), torch.zeros(1, 3, 256, 256)) < 130e9


@pytest.mark.slow
@torch.no_grad()
def test_fvcore_agrees():
    images = torch.zeros(1, 3, 256, 256)
    with torch.device("meta"):  # random numbers for 300 million weights take longer than the run
        ours, theirs = build_encoder("vit_l"), padded_encoder()
    assert count_by_fvcore(ours.to_empty(device="cpu"), images) < 82e9
    assert count_by_fvcore(theirs.to_empty(device="cpu"), images) == pytest.approx(129.4e9, rel=0.01)


class Decoding(nn.Module):
    """Everything after the image encoder of ViT-L."""

    def __init__(self, decoder: str) -> None:
        super().__init__()
        with torch.device("meta"):
            self.model = build_sopseg("vit_l", decoder)
        self.model.image_encoder = nn.Identity()
        self.model.to_empty(device="cpu")

    def forward(self, crops, embedding, shallow, boxes, points, labels):
        prediction = self.model.decode(crops, ImageFeatures(embedding, shallow), Prompts(boxes, points, labels))
        return prediction.mask_logits, prediction.iou


@torch.no_grad()
def decoding_macs(decoder: str) -> float:
    """Of one crop of 256 x 256 with a box and three points."""
    return count_by_fvcore(
        Decoding(decoder),
        torch.zeros(1, 3, 256, 256),
        torch.zeros(1, 256, 16, 16),
        torch.zeros(1, 1024, 16, 16),
        torch.zeros(1, 4),
        torch.zeros(1, 3, 2),
        torch.ones(1, 3),
    )


def test_edges_and_refinement_meet_their_budget():
    with torch.device("meta"):
        added = parameters(build_sopseg("vit_l", "edge")) - parameters(build_sopseg("vit_l", "sam"))
    assert added == pytest.approx(3e6, rel=0.1)
    assert decoding_macs("edge") - decoding_macs("sam") < 2.5e9


def test_the_fine_decoder_costs_at_most_two_thirds_of_sopsegs():
    with torch.device("meta"):
        sam, edge, fine = (parameters(build_sopseg("vit_l", name)) for name in ("sam", "edge", "fine"))
    assert fine - sam < 2 / 3 * (edge - sam)
    sam, edge, fine = (decoding_macs(name) for name in ("sam", "edge", "fine"))
    assert fine - sam < 2 / 3 * (edge - sam)


def test_models_have_sams_size():
    with torch.device("meta"):
        assert parameters(build_sopseg("vit_l", "sam")) == pytest.approx(312.3e6, rel=0.001)
        assert parameters(build_sopseg("vit_t", "sam")) == pytest.approx(9.8e6, rel=0.01)
