"""Measures of models, against other ways to count and a simulated clock."""

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny import CONFIG, write_dataset
from torch import nn

from insight.config import load_config
from insight.tables import measures

SOPSEG = ["MODEL.META_ARCHITECTURE", "SOPSegMetaArch", "MODEL.SOPSEG.ENCODER", "vit_t",
          "MODEL.SOPSEG.INPUT_SIZE", "128", "MODEL.DEVICE", "cpu"]  # fmt: skip


def sopseg(*options):
    return load_config("", [*SOPSEG, *options])


def test_cost_grows_with_crops_and_otherwise_with_decodings():
    one, ten = (measures.count_gmacs(sopseg(), n) for n in (1, 10))
    assert ten == pytest.approx(10 * one, rel=5e-3)  # the embedding of positions is computed once
    one, ten = (measures.count_gmacs(sopseg("MODEL.SOPSEG.MAGNIFY", "False"), n) for n in (1, 10))
    assert one < ten < 6 * one  # one encoding, ten decodings


def test_the_count_is_that_of_known_layers(monkeypatch):
    class Known(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(4, 6)

        def forward(self, crops, boxes, **points):
            return self.conv(crops), self.linear(boxes)

    monkeypatch.setattr(measures, "build_sopseg", lambda encoder, decoder: Known())
    expected = 5 * (128 * 128 * 8 * 3 * 9 + 4 * 6) / 1e9
    assert measures.count_gmacs(sopseg(), 5) == pytest.approx(expected)
    assert measures.count_parameters(sopseg()) == 3 * 9 * 8 + 8 + 4 * 6 + 6


def test_tokens_of_oriented_boxes_are_counted():
    """Two corners and an angle in place of two corners and three points; the angle's embedding has 256 channels."""
    points, tokens = sopseg(), sopseg("MODEL.SOPSEG.PROMPT_FORM", "tokens")
    assert measures.count_parameters(tokens) - measures.count_parameters(points) == 256
    box = sopseg("MODEL.SOPSEG.PROMPT", "box")
    two, three, five = (measures.count_gmacs(cfg, 1) for cfg in (box, tokens, points))
    assert two < three < five and five - two == pytest.approx(3 * (three - two), rel=0.02)  # of a token, nearly linear


def test_only_sopseg_is_counted():
    with pytest.raises(ValueError, match="gmacs: counted for SOPSeg only, got GeneralizedRCNN"):
        measures.count_gmacs(load_config("", ["MODEL.DEVICE", "cpu"]), 1)


def test_parameters_of_a_detector(monkeypatch):
    built = []

    def build_model(cfg):
        built.append((cfg.MODEL.TIMM.WEIGHTS, cfg.MODEL.DEVICE))
        return nn.Linear(3, 5)

    monkeypatch.setattr(measures, "build_model", build_model)
    cfg = load_config("", ["MODEL.TIMM.WEIGHTS", "absent.pth", "MODEL.DEVICE", "cpu"])
    assert measures.count_parameters(cfg) == 20 and built == [("", "cpu")]


def test_speed_of_real_models(tmp_path):
    annotations, images = write_dataset(tmp_path / "rectangles")
    cfg = load_config().clone()
    cfg.defrost()
    cfg.merge_from_other_cfg(type(cfg)(CONFIG))
    cfg.MODEL.META_ARCHITECTURE = "PromptRCNN"
    cfg.DATASETS.COCO, cfg.DATASETS.TEST = [["test_measures", str(annotations), str(images)]], ("test_measures",)
    try:
        first, second = measures.measure_speed([cfg, cfg])
    finally:
        DatasetCatalog.remove("test_measures")
        MetadataCatalog.remove("test_measures")
    assert first["speed"] == 1 and first["fps"] > 0 and second["fps"] > 0 and second["speed"] > 0


def test_speed_is_a_ratio_of_medians_in_turns(monkeypatch):
    now, order = [0.0], []

    class TimedModel:
        def __init__(self, seconds):
            self.seconds, self.inputs = seconds, [[{}]] * 5

        def run(self, index):
            order.append(self.seconds)
            now[0] += self.seconds
            return self.seconds * (100 if index == 2 else 1)  # one image is disturbed, for both

    monkeypatch.setattr(measures, "_TimedModel", TimedModel)
    first, second = measures.measure_speed([0.1, 0.2])
    assert first == pytest.approx({"fps": 10, "speed": 1.0}) and second == pytest.approx({"fps": 5, "speed": 0.5})
    assert order[-4:] in ([0.2, 0.1, 0.1, 0.2], [0.1, 0.2, 0.2, 0.1]) and len(order) == 14
    assert torch.is_grad_enabled()
