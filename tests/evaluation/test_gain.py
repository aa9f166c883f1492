"""What models add to their prompts: the rows against the predictor, means and intervals against plain loops."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny import write_dataset
from helpers.tiny_sopseg import DIM, randomise, small_sopseg
from pycocotools import mask as coco_mask

from insight import SOPSegPredictor
from insight.data.datasets.coco import register_coco
from insight.data.entries import read_entry_image
from insight.evaluation import gain
from insight.evaluation.contenders import (
    BoxFill,
    CropSAM,
    FixedMarginSAM,
    ImageFree,
    Trained,
    UprightSAM,
    WholeImageSAM,
)
from insight.evaluation.gain import Sample, fit_exponents, measure
from insight.evaluation.gain_table import Bootstrap, gain_markdown, summarise, write_gain
from insight.evaluation.prompt_baselines import box_masks
from insight.evaluation.prompted_objects import CONDITIONS, Condition
from insight.modeling.sopseg.decoders import build_decoder
from insight.structures.oriented_boxes import enclosing_boxes

SIDE = 64
MADE = {"date": "today", "commit": "abc", "gpu": None, "cpu": "a processor", "torch": "2"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    json_file, images = write_dataset(tmp_path_factory.mktemp("gain"))
    register_coco("gain_rectangles", json_file, images)
    yield "gain_rectangles"
    DatasetCatalog.remove("gain_rectangles")
    MetadataCatalog.remove("gain_rectangles")


@pytest.fixture(scope="module")
def image(dataset):
    """An image, and the prompts of its objects."""
    first = Sample.choose(dataset).images[0]
    pixels = read_entry_image(first.entry, "RGB")
    return pixels, {condition: first.prompts(condition) for condition in CONDITIONS}


def tensor(pixels):
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def test_plain_sam_answers_as_the_predictor_does(image):
    pixels, prompts = image
    model = small_sopseg()
    crop, clipped = CropSAM(model, "", SIDE).answer(tensor(pixels), prompts)
    (whole,) = WholeImageSAM(model, "").answer(tensor(pixels), prompts)
    inside, outside = SOPSegPredictor(model, input_size=SIDE), SOPSegPredictor(model, magnify=False)
    for condition in (CONDITIONS[0], CONDITIONS[2], CONDITIONS[7]):
        boxes = enclosing_boxes(prompts[condition])
        assert crop[condition] == list(inside.predict(image=pixels, boxes=boxes).masks)
        assert whole[condition] == list(outside.predict(image=pixels, boxes=boxes).masks)
        parts = coco_mask.decode(clipped[condition]), coco_mask.decode(box_masks(prompts[condition], pixels.shape[:2]))
        np.testing.assert_array_equal(parts[0], parts[1] & coco_mask.decode(crop[condition]))


@pytest.mark.parametrize("decoder, form", [("sam", None), ("sam", "oriented_box"), ("edge", None)])
def test_a_trained_model_is_prompted_in_its_form(image, decoder, form):
    pixels, prompts = image
    model = small_sopseg()
    if decoder == "edge":
        model.mask_decoder = randomise(build_decoder("edge", DIM))
    (found,) = Trained("ours", model, "", SIDE, form=form).answer(tensor(pixels), prompts)
    predictor = SOPSegPredictor(model, input_size=SIDE, prompt=form)
    loose = Condition("oriented", 0.2)
    assert found[loose] == list(predictor.predict(image=pixels, oriented_boxes=prompts[loose]).masks)
    horizontal = Condition("horizontal", 0.0)
    boxes = enclosing_boxes(prompts[horizontal])
    assert found[horizontal] == list(predictor.predict(image=pixels, boxes=boxes).masks)


def test_other_rows_answer_every_prompt(image):
    pixels, prompts = image
    model = small_sopseg()
    (upright,) = UprightSAM(model, "", SIDE).answer(tensor(pixels), prompts)
    assert set(upright) == {c for c in CONDITIONS if c.kind == "oriented"}
    (margin,) = FixedMarginSAM(model, "", SIDE).answer(tensor(pixels), prompts)
    (fill,) = BoxFill().answer(tensor(pixels), prompts)
    for answers in (upright, margin, fill):
        assert all(len(masks) == len(prompts[c]) and masks[0]["size"] == [64, 80] for c, masks in answers.items())


def test_the_filled_box_is_perfect_on_rectangles_until_it_is_loose(dataset, tmp_path):
    (row,) = measure(BoxFill(), Sample.choose(dataset), tmp_path)
    for condition, values in row.iou.items():
        assert values.shape == (15, 2)
        assert (values == 1).all() if condition.jitter == 0 else values[:, 0].mean() < 0.95
    loose = [row.iou[Condition("oriented", jitter)][:, 0].mean() for jitter in (0.0, 0.1, 0.2, 0.3)]
    assert loose == sorted(loose, reverse=True)


def test_exponents_are_fitted_to_each_condition(dataset):
    exponents = fit_exponents(dataset)
    assert set(exponents) == set(CONDITIONS) and exponents[CONDITIONS[0]] == 20  # rectangles


class Killed(BaseException):
    pass


class Counting(BoxFill):
    def __init__(self, killed_at=None):
        self.calls, self.killed_at = 0, killed_at

    def answer(self, image, prompts):
        self.calls += 1
        if self.calls == self.killed_at:
            raise Killed
        return super().answer(image, prompts)


def test_a_killed_row_goes_on_and_other_settings_begin_anew(dataset, tmp_path):
    sample = Sample.choose(dataset)
    with pytest.raises(Killed):
        measure(Counting(3), sample, tmp_path)
    second, third, other = Counting(), Counting(), Counting()
    (row,) = measure(second, sample, tmp_path)
    measure(third, sample, tmp_path)
    assert (second.calls, third.calls) == (len(sample.images) - 2, 0)
    (expected,) = measure(BoxFill(), sample, tmp_path / "elsewhere")
    np.testing.assert_array_equal(row.iou[CONDITIONS[3]], expected.iou[CONDITIONS[3]])
    other.settings = {"row": "another"}
    measure(other, sample, tmp_path)
    assert other.calls == len(sample.images)
    fewer = Sample.choose(dataset, 4)
    assert fewer.digest != sample.digest and Sample.choose(dataset).digest == sample.digest


def test_means_and_intervals_are_those_of_plain_loops():
    generator = np.random.default_rng(3)
    images = np.repeat(np.arange(12), 3)
    labels = generator.choice([1, 4], 36)
    values = generator.random(36)
    totals = {1: 900, 4: 100}
    over_classes, over_instances = Bootstrap(images, labels, totals, resamples=2000).means(values)
    means = {label: values[labels == label].mean() for label in (1, 4)}
    assert over_classes.value == pytest.approx(50 * (means[1] + means[4]))
    assert over_instances.value == pytest.approx(90 * means[1] + 10 * means[4])
    drawn = []
    for _ in range(2000):
        chosen = np.concatenate([np.flatnonzero(images == i) for i in generator.integers(12, size=12)])
        parts = [values[chosen][labels[chosen] == label] for label in (1, 4)]
        drawn.append(100 * np.mean([part.mean() for part in parts if len(part)]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    assert (over_classes.low, over_classes.high) == pytest.approx((low, high), abs=0.8)
    again, _ = Bootstrap(images, labels, totals, resamples=2000).means(values)
    assert again == over_classes


def test_all_objects_give_the_plain_instance_mean(dataset, tmp_path):
    sample = Sample.choose(dataset)
    rows = measure(ImageFree(dict.fromkeys(CONDITIONS, 2.0)), sample, tmp_path)
    (row,) = summarise(rows, sample, resamples=50)
    values = rows[0].iou[CONDITIONS[0]]
    assert row.metrics[CONDITIONS[0]]["mIoU"].value == pytest.approx(100 * values[:, 0].mean())
    assert row.metrics[CONDITIONS[0]]["boundary mIoU"].value == pytest.approx(100 * values[:, 1].mean())
    long = np.array([one.sides[1] for one in sample.objects])  # 14 and 30 pixels
    assert row.by_size[CONDITIONS[0]][:2] == pytest.approx(
        [100 * values[long < 16, 0].mean(), 100 * values[long > 16, 0].mean()]
    )
    assert np.isnan(row.by_size[CONDITIONS[0]][2:]).all()


def test_the_table_says_what_it_was_measured_on(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(gain, "is_all_boundary", lambda truth: bool(coco_mask.area(truth) == 196))
    sample = Sample.choose(dataset, 6)
    model = small_sopseg()
    rows = [*measure(BoxFill(), sample, tmp_path), *measure(UprightSAM(model, "w", SIDE), sample, tmp_path)]
    summarised = summarise(rows, sample, resamples=50)
    text = gain_markdown(summarised, sample, MADE, "insight measure gain x")
    assert "6 objects (of 15, in equal shares of the classes, seed 0) in" in text
    assert "For 3 of the 6 objects its distance exceeds half their short side" in text
    horizontal = text.split("## Horizontal prompts")[1].split("## By size")[0]
    assert "| SAM, crop rotated upright | - | - | - | - |" in horizontal
    assert "| box, filled | 100.0 (100.0 to 100.0) |" in horizontal
    assert "commit abc, a processor, torch 2" in text
    write_gain(summarised, sample, tmp_path, MADE, "insight measure gain x")
    content = json.loads((tmp_path / "gain.json").read_text())
    assert (content["objects"], content["objects of the dataset"], content["seed"]) == (6, 15, 0)
    upright = content["rows"][1]
    assert set(upright["conditions"]) == {"oriented 0", "oriented 0.1", "oriented 0.2", "oriented 0.3"}
    assert content["rows"][0]["conditions"]["horizontal 0"]["class mIoU"] == [100, 100, 100]
