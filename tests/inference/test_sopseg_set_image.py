"""SOPSegPredictor.set_image: an image is moved and encoded once, and answers as one given to predict."""

import weakref

import pytest
import torch
from helpers.sopseg_predictor import BOXES, CLICKS, IMAGE, SIZE, assert_equal, small_predictor
from helpers.tiny_sopseg import small_sopseg
from PIL import Image

from insight import SOPSegPredictor
from insight.modeling.sopseg import ImageMasks
from insight.modeling.sopseg.model import SOPSeg


@pytest.fixture(scope="module")
def predictor():
    return small_predictor()


def test_an_image_goes_to_the_device_once(monkeypatch):
    """The device is torch's "meta", which no kernel runs on: what would be computed there is recorded instead."""
    predictor = SOPSegPredictor(small_sopseg(), input_size=SIZE)
    masks = predictor.predict(image=IMAGE, boxes=BOXES).masks
    predictor.model.to("meta")
    seen = []

    def record(model, image, prompts, *args, **kwargs):
        seen.append(image)
        return ImageMasks(masks, torch.zeros(len(masks)))

    monkeypatch.setattr("insight.inference.sopseg_predictor.image_masks", record)
    predictor.set_image(IMAGE)
    for _ in range(2):
        predictor.predict(boxes=BOXES)
    assert seen[0].is_meta and seen[0] is seen[1]


OTHER_IMAGE = IMAGE[::-1, :80]


@pytest.fixture
def encoded(monkeypatch):
    """The number of crops in each call of an encoder."""
    counts, encode = [], SOPSeg.encode
    monkeypatch.setattr(SOPSeg, "encode", lambda self, crops: counts.append(len(crops)) or encode(self, crops))
    return counts


def test_an_image_that_is_set_is_encoded_once_for_all_clicks(predictor, encoded):
    asked = [{"points": [point], "labels": [[1]]} for point in CLICKS["points"]] + [CLICKS]
    alone = [predictor.predict(image=IMAGE, **prompts) for prompts in asked]
    assert encoded == [1, 1, 1]
    encoded.clear()
    given = IMAGE.copy()
    predictor.set_image(given)
    assert encoded == [] and predictor.image_size == (90, 120)
    given[:] = 0  # the caller's to reuse
    for prompts, expected in zip(asked, alone):
        assert_equal(predictor.predict(**prompts), expected)
    assert encoded == [1]


def test_boxes_on_an_image_that_is_set_are_magnified_as_ever(predictor, encoded):
    expected = predictor.predict(image=IMAGE, boxes=BOXES, oriented_boxes=[[28.0, 35, 16, 10, 20]])
    assert encoded == [3, 1]
    encoded.clear()
    predictor.set_image(IMAGE)
    assert_equal(predictor.predict(boxes=BOXES, oriented_boxes=[[28.0, 35, 16, 10, 20]]), expected)
    assert encoded == [3, 1]


def test_without_magnification_boxes_are_answered_from_the_image_that_is_set(predictor, encoded):
    whole = SOPSegPredictor(predictor.model, input_size=SIZE, magnify=False)
    expected = whole.predict(image=IMAGE, boxes=BOXES, oriented_boxes=[[28.0, 35, 16, 10, 20]])
    assert encoded == [1], "both kinds of prompts from one encoding"
    whole.set_image(IMAGE)
    assert_equal(whole.predict(boxes=BOXES, oriented_boxes=[[28.0, 35, 16, 10, 20]]), expected)
    assert_equal(whole.predict(**CLICKS), whole.predict(image=IMAGE, **CLICKS))
    assert encoded == [1, 1, 1]


def test_another_image_takes_the_place_of_the_one_that_was_set(predictor, tmp_path):
    Image.fromarray(OTHER_IMAGE).save(tmp_path / "other.png")
    first, other = (
        predictor.predict(image=IMAGE, **CLICKS),
        predictor.predict(image=OTHER_IMAGE, points=[[[30.0, 40]]], labels=[[1]]),
    )
    predictor.set_image(IMAGE)
    assert_equal(predictor.predict(**CLICKS), first)
    assert_equal(predictor.predict(image=OTHER_IMAGE, points=[[[30.0, 40]]], labels=[[1]]), other)
    assert_equal(predictor.predict(**CLICKS), first)  # an image of one call is not set
    kept = weakref.ref(predictor._image.whole.features.embedding)
    predictor.set_image(tmp_path / "other.png")
    assert kept() is None, "features of one image alone are kept"
    assert predictor.image_size == (90, 80)
    assert_equal(predictor.predict(points=[[[30.0, 40]]], labels=[[1]]), other)


def test_without_an_image_it_says_so(predictor):
    predictor = SOPSegPredictor(predictor.model, input_size=SIZE)
    assert predictor.image_size is None
    with pytest.raises(RuntimeError, match=r"no image is set: call set_image\(image\) first"):
        predictor.predict(boxes=BOXES)
