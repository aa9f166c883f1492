"""Images, prompts and checkpoints of SOPSegPredictor in every form, and errors that name the wrong ones."""

import numpy as np
import pytest
import torch
from helpers.sopseg_predictor import BOXES, IMAGE, SIZE, assert_equal, small_predictor
from helpers.tiny_sopseg import save_tiny_checkpoint
from PIL import Image

from insight import SOPSegPredictor
from insight.checkpoint import CheckpointError
from insight.errors import InputError


@pytest.fixture(scope="module")
def predictor():
    return small_predictor()


@pytest.mark.parametrize("nothing", [[], torch.zeros(0, 4), np.zeros((0, 4))])
def test_no_boxes_give_no_masks(predictor, nothing):
    found = predictor.predict(image=IMAGE, boxes=nothing)
    assert len(found.masks) == 0 and found.scores.shape == (0,) and found.boxes.shape == (0, 4)
    assert found.masks.to_bitmaps().shape == (0, 90, 120)
    mixed = predictor.predict(image=IMAGE, boxes=nothing, oriented_boxes=[[28.0, 35, 16, 10, 0]])
    assert len(mixed.masks) == 1 and mixed.boxes.shape == (1, 4)
    none = predictor.predict(image=IMAGE, points=np.zeros((0, 1, 2)), labels=np.zeros((0, 1)))
    assert len(none.masks) == 0 and none.boxes.shape == (0, 4)


def test_images_as_people_have_them(predictor, tmp_path):
    plain = predictor.predict(image=IMAGE, boxes=BOXES)
    Image.fromarray(IMAGE).save(tmp_path / "plain.png")
    alpha = np.dstack([IMAGE, np.full(IMAGE.shape[:2], 7, np.uint8)])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    for image in (str(tmp_path / "plain.png"), tmp_path / "alpha.png", alpha):
        found = predictor.predict(image=image, boxes=BOXES)
        assert found.masks.codes == plain.masks.codes and found.scores.equal(plain.scores)
    grey = IMAGE[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    found = predictor.predict(image=np.repeat(grey[:, :, None], 3, 2), boxes=BOXES)
    for image in (grey, grey[:, :, None], tmp_path / "grey.png"):
        assert predictor.predict(image=image, boxes=BOXES).masks.codes == found.masks.codes


@pytest.mark.parametrize(
    "image, said",
    [
        (IMAGE.astype(np.uint16), r"image: expected uint8 .* got uint16 .*stretch them to 8 bits"),
        (IMAGE / 255, "image: expected uint8"),
        (np.zeros((9, 9, 5), np.uint8), r"image: expected uint8 .* got uint8 \(9, 9, 5\)"),
        (np.zeros((0, 9, 3), np.uint8), "image: has no pixels"),
        ("deep.tif", "deep.tif: its pixels are 16-bit unsigned, 1 band; expected 8-bit"),
        ("cut.png", "cut.png: it is truncated, corrupt"),
        ("absent.png", "no such image: .*absent.png"),
    ],
)
def test_images_that_cannot_be_used_are_one_line(predictor, tmp_path, image, said):
    Image.fromarray(IMAGE[:, :, 0].astype(np.uint16)).save(tmp_path / "deep.tif")
    Image.fromarray(IMAGE).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:400])
    with pytest.raises((ValueError, OSError), match=said) as caught:
        predictor.predict(image=tmp_path / image if isinstance(image, str) else image, boxes=BOXES)
    assert "\n" not in str(caught.value)


ONE = [[[30.0, 40]]]


@pytest.mark.parametrize(
    "prompts, said",
    [
        ({}, "predict: expected boxes, oriented_boxes, or points with labels, got none"),
        ({"boxes": [[1, 2, np.nan, 4]]}, r"boxes\[0\] = .* not finite"),
        ({"boxes": [[1, 2, 1, 4]]}, r"boxes\[0\] = .* has no area"),
        ({"boxes": [[1, 2, 3, 4], [9, 2, 3, 4]]}, r"boxes\[1\] = .* is inverted"),
        ({"boxes": [[120, 2, 130, 4]]}, r"boxes\[0\] = .* outside the image, which is 120 x 90 pixels"),
        ({"boxes": [1, 2, 3]}, r"boxes: expected shape \(N, 4\) .* got \(3,\)"),
        (
            {"boxes": [[9, 9, 5, 5, 30]]},
            r"boxes: expected shape .* got \(1, 5\); pass oriented boxes as oriented_boxes",
        ),
        ({"oriented_boxes": [[9, 9, 5, 5, np.inf]]}, r"oriented_boxes\[0\] = .* not finite"),
        ({"oriented_boxes": [[9, 9, 5, 0, 3]]}, r"oriented_boxes\[0\] = .* has no area"),
        ({"oriented_boxes": [[9, 9, 5, 5, 3], [500, 9, 5, 5, 3]]}, r"oriented_boxes\[1\] = .* outside the image"),
        ({"points": ONE}, "labels: expected one for each point .* got none"),
        ({"labels": [[1]]}, "labels: given without points"),
        ({"points": [[30, 40]], "labels": [[1]]}, r"points: expected shape \(N, P, 2\).* got \(1, 2\)"),
        ({"points": ONE, "labels": [[1, 1]]}, r"labels: expected shape \(1, 1\), .* got \(1, 2\)"),
        ({"points": ONE, "labels": [[2]]}, r"labels\[0\] = \[2\] has a label other than 1"),
        ({"points": ONE, "labels": [[0.5]]}, r"labels\[0\] = \[0.5\] has a label other than 1"),
        ({"points": ONE, "labels": [[np.nan]]}, r"labels\[0\] = \[nan\] has a label other than 1"),
        ({"points": ONE, "labels": [[-1]]}, r"labels\[0\] = \[-1\] has no point for its object"),
        ({"points": [[[30, 91]]], "labels": [[1]]}, r"points\[0\] = \[30.0, 91.0\] has a point outside the image"),
        ({"points": [[[np.nan, 9]]], "labels": [[1]]}, r"points\[0\] = .* not finite"),
        ({"points": ONE, "labels": [[1]], "boxes": BOXES}, "points: expected points of 3 objects"),
        (
            {"points": ONE, "labels": [[1]], "oriented_boxes": [[9, 9, 5, 5, 3]]},
            "points: cannot be combined with oriented_boxes",
        ),
        ({"points": "here", "labels": [[1]]}, r"points: expected \(N, P, 2\) numbers"),
    ],
)
def test_wrong_prompts_are_one_line(predictor, prompts, said):
    with pytest.raises(ValueError, match=said) as caught:
        predictor.predict(image=IMAGE, **prompts)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_loaded_and_checked(tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    model = save_tiny_checkpoint(path, monkeypatch, "edge")
    found = SOPSegPredictor(path, encoder="vit_b", decoder="edge", input_size=SIZE).predict(image=IMAGE, boxes=BOXES)
    assert found.masks.codes == SOPSegPredictor(model, input_size=SIZE).predict(image=IMAGE, boxes=BOXES).masks.codes
    with pytest.raises(ValueError, match="model.pth: expected the image encoder vit_t, got vit_b"):
        SOPSegPredictor(path, encoder="vit_t")
    with pytest.raises(CheckpointError, match="absent.pth: no such checkpoint"):
        SOPSegPredictor(tmp_path / "absent.pth")
    save_tiny_checkpoint(path, monkeypatch, "sam")
    with pytest.raises(ValueError, match="model.pth: expected the mask decoder 'edge', got 'sam'"):
        SOPSegPredictor(path, decoder="edge")  # its additions would be random
    with pytest.raises(ValueError, match=r"shared_crops \(SHARED_CROPS\): expected 0 or a fraction below 1, got 1"):
        SOPSegPredictor(path, shared_crops=1)
    for size in (100, 32, 2048):
        with pytest.raises(ValueError, match=f"input_size: expected a multiple of 64 up to 1024, got {size}"):
            SOPSegPredictor(path, input_size=size)
    with pytest.raises(ValueError, match="input_size: expected a multiple of 64 up to 1024, got '256'"):
        SOPSegPredictor(path, input_size="256")
    with pytest.raises(ValueError, match="^device: expected cpu, cuda or cuda:N, got gpu"):
        SOPSegPredictor(path, device="gpu")
    with pytest.raises(ValueError, match="^device: there is no GPU cuda:99"):
        SOPSegPredictor(path, device=torch.device("cuda:99"))
    with pytest.raises(InputError, match="weights: expected a checkpoint's path or a SOPSeg, got NoneType"):
        SOPSegPredictor(None)


def test_every_form_of_boxes_and_images_gives_the_same_answer(predictor):
    expected = predictor.predict(image=IMAGE, boxes=BOXES)
    array = np.array(BOXES)
    for boxes in (array[::-1][::-1], array.astype(">f4"), array.astype(object), torch.tensor(BOXES), tuple(array)):
        assert_equal(predictor.predict(image=IMAGE, boxes=boxes), expected)
    images = [
        (IMAGE[:, :, ::-1], "BGR"),
        (Image.fromarray(IMAGE), "RGB"),
        (torch.tensor(IMAGE).permute(2, 0, 1), "RGB"),
    ]
    for image, order in images:
        assert_equal(predictor.predict(image=image, order=order, boxes=BOXES), expected)
        predictor.set_image(image, order)
        assert_equal(predictor.predict(boxes=BOXES), expected)
    one = predictor.predict(image=IMAGE, boxes=BOXES[0])
    assert one.boxes.tolist() == BOXES[:1] and one.masks.codes == expected.masks.codes[:1]
    clicked = predictor.predict(image=IMAGE, points=[[30, 40]], labels=[1])
    assert_equal(clicked, predictor.predict(image=IMAGE, points=[[[30, 40]]], labels=[[1]]))


def test_everything_but_self_is_a_keyword(predictor):
    with pytest.raises(TypeError, match="positional"):
        predictor.predict(BOXES)
