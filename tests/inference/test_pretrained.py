"""Predictors from model folders answer as those of the weights that were put in."""

import inspect
from typing import Unpack, get_type_hints

import numpy as np
import pytest
import torch
from helpers.model_folders import write_tiny_detector, write_tiny_sopseg

import insight
import insight.hub.finding as finding
from insight import PromptPredictor, SOPSegPredictor
from insight.hub import ModelError
from insight.inference.keywords import LoadKeywords, PromptKeywords, SOPSegKeywords
from insight.sam import SamPredictor

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
BOXES, ORIENTED = [[10, 20, 30, 40], [5, 6, 50, 30]], [[50, 30, 30, 8, 30]]


def masks(predictor, **prompts):
    return np.asarray(predictor.predict(image=IMAGE, **prompts).masks)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "SHIPPED", tmp_path)
    monkeypatch.setenv("INSIGHT_CACHE", str(tmp_path / "no_cache"))
    return tmp_path


def test_sopseg_stored_in_float32_answers_exactly_as_the_model(shipped, monkeypatch):
    _, model = write_tiny_sopseg(shipped / "sopseg-vit-t", monkeypatch, half=False)
    plain = SOPSegPredictor(model, input_size=64, prompt="oriented_box")
    for found in (
        SOPSegPredictor.from_pretrained(),
        insight.load("sopseg-vit-t"),
        insight.load(shipped / "sopseg-vit-t"),
    ):
        np.testing.assert_array_equal(masks(found, oriented_boxes=ORIENTED), masks(plain, oriented_boxes=ORIENTED))
        assert found.model.image_encoder.pos_embed.dtype == torch.float32


def test_the_model_sets_options_and_the_caller_overrides_them(shipped, monkeypatch):
    write_tiny_sopseg(shipped / "sopseg-vit-t", monkeypatch)
    found = SOPSegPredictor.from_pretrained()
    assert (found.crop_size, found.prompt, found.magnify) == (64, "oriented_box", True)
    found = SOPSegPredictor.from_pretrained(prompt="box", input_size=128, magnify=False)
    assert (found.crop_size, found.prompt, found.magnify) == (128, "box", False)


def test_masks_and_the_sam_interface_take_the_shipped_model(shipped, monkeypatch):
    _, model = write_tiny_sopseg(shipped / "sopseg-vit-t", monkeypatch, half=False)
    plain = SOPSegPredictor(model, input_size=64, prompt="oriented_box")
    np.testing.assert_array_equal(np.asarray(insight.masks(IMAGE, BOXES).masks), masks(plain, boxes=BOXES))
    options = {"crop_size": 64, "input_size": 64}
    predictor, twin = SamPredictor(**options), SamPredictor(model, **options)
    for one in (predictor, twin):
        one.set_image(IMAGE)
    ours, theirs = (one.predict(box=np.array(BOXES[0]), multimask_output=False)[0] for one in (predictor, twin))
    np.testing.assert_array_equal(ours, theirs)


def test_a_detector_answers_as_the_model_and_knows_its_classes(shipped, prompt_cfg, prompt_model):
    names = [f"kind {i}" for i in range(prompt_cfg.MODEL.ROI_HEADS.NUM_CLASSES)]
    written = write_tiny_detector(shipped / "scenes-light", prompt_cfg, prompt_model, class_names=tuple(names))
    found = insight.PromptPredictor.from_pretrained(device="cpu")
    assert found.class_names == names and isinstance(insight.load(written, "cpu"), insight.PromptPredictor)
    half = prompt_model.state_dict() | {k: v for k, v in found.model.state_dict().items() if v.numel() >= 4096}
    assert all(torch.equal(value, half[name]) for name, value in found.model.state_dict().items())
    size = {"min_size": prompt_cfg.INPUT.MIN_SIZE_TEST, "max_size": prompt_cfg.INPUT.MAX_SIZE_TEST}
    plain = insight.PromptPredictor(prompt_model, **size)
    agreement = (masks(found, boxes=BOXES) == masks(plain, boxes=BOXES)).mean()
    assert agreement > 0.99  # float16 moves pixels at the threshold


def test_limits_of_a_model_that_resizes_nothing_are_for_images_as_large_as_in_training(
    shipped, prompt_cfg, prompt_model
):
    cfg = prompt_cfg.clone()
    cfg.defrost()
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TRAIN = 0, (24, 32)
    names = tuple(map(str, range(cfg.MODEL.ROI_HEADS.NUM_CLASSES)))
    write_tiny_detector(shipped / "scenes-light", cfg, prompt_model, class_names=names)
    tiles = insight.PromptPredictor.from_pretrained(device="cpu").for_tiles()
    heads = tiles.model.roi_heads.box_predictor
    limit, seen = heads.test_topk_per_image, []
    heads.register_forward_hook(lambda module, *_: seen.append(module.test_topk_per_image))
    for image in (IMAGE[:32, :32], IMAGE):
        tiles.set_image(image)
        tiles.detect()
    assert seen == [limit, round(limit * 64 * 80 / 32**2)]


def test_a_weight_file_alone_tells_a_detectors_classes(shipped, prompt_cfg, prompt_model):
    names = [f"kind {i}" for i in range(prompt_cfg.MODEL.ROI_HEADS.NUM_CLASSES)]
    written = write_tiny_detector(shipped / "d", prompt_cfg, prompt_model, class_names=tuple(names))
    cfg = prompt_cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(written.weights)
    assert insight.PromptPredictor(cfg).class_names == names


def test_the_wrong_kind_names_the_class_that_loads_it(shipped, monkeypatch, prompt_cfg, prompt_model):
    write_tiny_sopseg(shipped / "s", monkeypatch)
    with pytest.raises(ModelError, match="s: expected a detector, got a SOPSeg model, which SOPSegPredictor.from_pre"):
        insight.PromptPredictor.from_pretrained("s")
    write_tiny_detector(shipped / "d", prompt_cfg, prompt_model, class_names=("a", "b"))
    for load in (SOPSegPredictor.from_pretrained, SamPredictor):
        with pytest.raises(ModelError, match="d: expected a SOPSeg model, got a detector, which PromptPredictor"):
            load("d")


def test_damaged_weights_are_not_loaded(shipped, monkeypatch):
    written, _ = write_tiny_sopseg(shipped / "s", monkeypatch)
    content = bytearray(written.weights.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (written.path / "model.safetensors").write_bytes(content)
    for load in (SOPSegPredictor.from_pretrained, insight.load, SamPredictor):
        with pytest.raises(ModelError, match="damaged or changed"):
            load("s")
    with pytest.raises(ModelError, match="damaged or changed"):
        insight.masks(IMAGE, BOXES, "s")


def keywords(function):
    """The keyword-only parameters of a function, with their types."""
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: hints[p.name] for p in parameters if p.kind == p.KEYWORD_ONLY}


def test_keywords_are_those_of_the_classes():
    by_class = {name: hint for name, hint in keywords(SOPSegPredictor.__init__).items() if name != "device"}
    assert get_type_hints(SOPSegKeywords) == by_class
    assert get_type_hints(PromptKeywords) == keywords(PromptPredictor.__init__)
    by_name = keywords(PromptPredictor.from_pretrained)  # score_threshold
    assert get_type_hints(LoadKeywords) == by_class | keywords(PromptPredictor.__init__) | by_name


@pytest.mark.parametrize(
    "function, expected",
    [
        (SOPSegPredictor.from_pretrained, SOPSegKeywords),
        (PromptPredictor.from_pretrained, PromptKeywords),
        (insight.load, LoadKeywords),
    ],
)
def test_functions_name_their_keywords(function, expected):
    assert inspect.signature(function).parameters["options"].annotation == Unpack[expected]


def test_a_device_is_a_name_or_torchs(shipped, monkeypatch):
    write_tiny_sopseg(shipped / "sopseg-vit-t", monkeypatch)
    for device in ("cpu", torch.device("cpu")):
        assert next(insight.load("sopseg-vit-t", device).model.parameters()).device == torch.device("cpu")
