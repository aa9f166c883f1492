"""insight.sam.SamPredictor beside segment_anything's own."""

import inspect

import numpy as np
import pytest
import torch
from helpers.tiny_sopseg import (
    DEPTH,
    DIM,
    GLOBAL_BLOCKS,
    HEADS,
    randomise,
    save_tiny_checkpoint,
    segment_anything_twin,
    small_sopseg,
)
from segment_anything import SamPredictor as ReferencePredictor
from segment_anything.utils.transforms import ResizeLongestSide as ReferenceTransform

from insight import SOPSegPredictor
from insight.errors import InputError
from insight.modeling.sopseg import build_sopseg
from insight.modeling.sopseg.encoders import VIT_CONFIGS
from insight.sam import OUTSIDE, ResizeLongestSide, SamPredictor, sam_model_registry

SIZE = 256
POINTS = {"point_coords": np.array([[30, 40], [90, 70]]), "point_labels": np.array([1, 0])}
BOX = {"box": np.array([20, 30, 100, 90])}
PROMPTS = {"points": POINTS, "box": BOX, "both": POINTS | BOX}


def image_of(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(sam, size):
    predictor = ReferencePredictor(sam)
    predictor.transform.target_length = size
    return predictor


@pytest.fixture(scope="module")
def model():
    return small_sopseg()


@pytest.fixture(scope="module", params=[SIZE, 448], ids=str)
def pair(model, request):
    """Ours without magnification, and segment_anything's."""
    ours = SamPredictor(model, magnify=False, input_size=request.param)
    return ours, reference(segment_anything_twin(model, request.param), request.param)


def assert_same(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        assert type(mine) is type(other) and mine.shape == other.shape and mine.dtype == other.dtype
        mine, other = np.asarray(mine), np.asarray(other)
        if mine.dtype == bool:
            assert (mine != other).mean() < 1e-4 and other.any()
        else:
            assert np.abs(mine - other).max() < 1e-4 * np.abs(other).max()


@pytest.mark.parametrize("shape", [(190, 283), (320, 200), (256, 256)], ids=["wide", "tall", "square"])
@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("multimask", [True, False])
def test_without_magnification_it_is_segment_anything(pair, shape, kind, multimask):
    image = image_of(*shape)
    for predictor in pair:
        predictor.set_image(image)
    for how in ({}, {"return_logits": True}):
        ours, theirs = (p.predict(**PROMPTS[kind], multimask_output=multimask, **how) for p in pair)
        assert_same(ours, theirs)
    refined = [p.predict(**PROMPTS[kind], mask_input=theirs[2][:1], multimask_output=multimask) for p in pair]
    assert_same(*refined)
    assert (refined[0][0] != (theirs[0] > 0)).any()
    assert pair[0].original_size == pair[1].original_size and pair[0].input_size == pair[1].input_size
    assert_same([pair[0].get_image_embedding()], [pair[1].get_image_embedding()])
    assert_same([pair[0].features], [pair[1].features])


def test_batches_of_transformed_prompts(pair):
    image = image_of(190, 283)
    answers = []
    for predictor in pair:
        predictor.set_image(image, image_format="BGR")
        points = predictor.transform.apply_coords_torch(torch.tensor([[[30, 40]], [[100, 150]]]), image.shape[:2])
        boxes = predictor.transform.apply_boxes_torch(
            torch.tensor([[20.0, 30, 100, 90], [60, 50, 200, 180]]), (190, 283)
        )
        answers.append(predictor.predict_torch(points, torch.ones(2, 1, dtype=torch.int), boxes, return_logits=True))
        assert answers[-1][0].shape == (2, 3, 190, 283)
    assert_same(*answers)
    for predictor in pair:
        predictor.set_image(image)
    assert not torch.equal(pair[0].predict_torch(points, torch.ones(2, 1), boxes, return_logits=True)[0], answers[0][0])


def test_an_image_that_was_transformed_before(pair):
    image = image_of(150, 100)
    pixels = torch.from_numpy(pair[0].transform.apply_image(image)).permute(2, 0, 1)[None]
    for predictor in pair:
        predictor.set_torch_image(pixels, image.shape[:2])
    assert_same(*(p.predict(**BOX) for p in pair))
    with pytest.raises(InputError, match=r"transformed_image: expected shape \(1, 3, h, w\) with a long side of"):
        pair[0].set_torch_image(pixels[..., :-1, :-1], image.shape[:2])


@pytest.mark.slow
@pytest.mark.parametrize("size, depth", [(512, 12), (1024, 3)])  # three blocks, of which one is global, need a quarter
def test_vit_b_is_segment_anything(size, depth):
    model = randomise(build_sopseg("vit_b", "sam"))
    dim, _, heads, global_blocks = VIT_CONFIGS["vit_b"]
    del model.image_encoder.blocks[depth:]
    sam = segment_anything_twin(model, size, dim, depth, heads, tuple(b for b in global_blocks if b < depth))
    pair = SamPredictor(model, magnify=False, input_size=size), reference(sam, size)
    image = image_of(190, 283)
    for predictor in pair:
        predictor.set_image(image)
    for prompts in PROMPTS.values():
        for multimask in (True, False):
            assert_same(*(p.predict(**prompts, multimask_output=multimask, return_logits=True) for p in pair))


def test_boxes_are_magnified_as_by_sopsegs_predictor(model):
    image = image_of(300, 400)
    ours = SamPredictor(model, crop_size=64, input_size=SIZE)
    ours.set_image(image)
    expected = SOPSegPredictor(model, input_size=64)
    expected.set_image(image)
    prompts = {
        "point_coords": np.array([[30, 40], [34, 36]]),
        "point_labels": np.array([1, 0]),
        "box": np.array([20, 30, 36, 44]),
    }
    theirs = {"points": prompts["point_coords"], "labels": prompts["point_labels"], "boxes": prompts["box"]}
    for multimask in (False, True):
        masks, iou, low_res = ours.predict(**prompts, multimask_output=multimask)
        found = expected.predict(**theirs, multimask=multimask)
        assert masks.shape == (len(found), 300, 400) and masks.dtype == bool and low_res.shape == (len(found), 64, 64)
        assert (masks != np.asarray(found.masks)).mean() < 1e-5 and masks.any((1, 2)).all()
        np.testing.assert_allclose(iou, found.scores.numpy(), atol=1e-4)
    logits = ours.predict(**prompts, return_logits=True)[0]
    assert (
        logits.dtype == np.float32
        and np.array_equal(logits > 0, masks)
        and logits[:, 100, 100].tolist() == [OUTSIDE] * 3
    )
    # Where SAM's frame is finer than the crop, low-resolution logits are the mask.
    large = {"box": np.array([100, 60, 300, 240])}
    masks, _, low_res = ours.predict(**large)
    height, width = ours.input_size
    coarse = torch.nn.functional.interpolate(torch.from_numpy(low_res)[None], SIZE, mode="bilinear")[
        ..., :height, :width
    ]
    again = torch.nn.functional.interpolate(coarse, (300, 400), mode="bilinear")[0] > 0
    assert (again.numpy() != masks).mean() < 0.05


def test_magnification_of_a_transformed_image_and_many_boxes(model):
    image = image_of(200, 400)
    ours, other = (SamPredictor(model, crop_size=64, input_size=SIZE) for _ in range(2))
    ours.set_image(image)
    boxes = torch.tensor([[20.0, 30, 36, 44], [100, 60, 160, 100], [300, 150, 330, 190]])
    in_frame = ours.transform.apply_boxes_torch(boxes, (200, 400))
    masks, iou, low_res = ours.predict_torch(None, None, in_frame, multimask_output=False)
    assert masks.shape == (3, 1, 200, 400) and iou.shape == (3, 1) and low_res.shape == (3, 1, 64, 64)
    for i, box in enumerate(boxes):
        assert (masks[i].numpy() != ours.predict(box=box.numpy(), multimask_output=False)[0]).mean() < 1e-5
    pixels = torch.from_numpy(ours.transform.apply_image(image)).permute(2, 0, 1)[None]
    other.set_torch_image(pixels, (200, 400))
    from_small, _, _ = other.predict_torch(None, None, in_frame, multimask_output=False)
    expected = SOPSegPredictor(model, input_size=64).predict(image=pixels[0], boxes=in_frame)
    rows = torch.arange(200) * ours.input_size[0] // 200
    columns = torch.arange(400) * ours.input_size[1] // 400
    nearest = expected.masks.to_bitmaps()[:, rows][:, :, columns]
    assert (from_small[:, 0] != nearest).float().mean() < 0.02
    assert ours.predict_torch(None, None, in_frame[:0])[0].shape == (0, 3, 200, 400)


def test_a_mask_input_guides_a_magnified_box(model):
    """An earlier mask of the whole image, cut as the crop is."""
    image = image_of(256, 256)
    ours = SamPredictor(model, crop_size=64, input_size=SIZE)
    ours.set_image(image)
    box = np.array([64, 64, 192, 192])
    given = np.full((1, 64, 64), -8.0, np.float32)
    given[0, 20:40, 20:30] = 8
    masks = ours.predict(box=box, mask_input=given, multimask_output=False)[0]
    assert (masks != ours.predict(box=box, multimask_output=False)[0]).any()
    predictor = SOPSegPredictor(model, input_size=64)
    region = predictor.predict(image=image, boxes=box, return_logits=True).logits.regions[0]
    x1, y1, x2, y2 = (region / 4).tolist()
    edges_x, edges_y = np.linspace(x1, x2, 17), np.linspace(y1, y2, 17)  # of the crop's 16 low-resolution pixels
    centres_x, centres_y = (edges_x[:-1] + edges_x[1:]) / 2, (edges_y[:-1] + edges_y[1:]) / 2
    grid = torch.tensor(np.stack(np.meshgrid(2 * centres_x / 64 - 1, 2 * centres_y / 64 - 1), -1)[None]).float()
    crop = torch.nn.functional.grid_sample(torch.from_numpy(given)[None] - OUTSIDE, grid, align_corners=False) + OUTSIDE
    expected = predictor.predict(image=image, boxes=box, mask_input=crop[0])
    assert (masks != np.asarray(expected.masks)).mean() < 0.02


def test_boxes_alone_never_encode_the_whole_image(model, monkeypatch):
    sizes, encode = [], type(model).encode
    monkeypatch.setattr(type(model), "encode", lambda self, crops: sizes.append(crops.shape[2]) or encode(self, crops))
    ours = SamPredictor(model, crop_size=64, input_size=SIZE)
    ours.set_image(image_of(100, 100))
    ours.predict(**BOX)
    assert sizes == [64]
    for _ in range(2):
        ours.predict(**POINTS)
    assert sizes == [64, SIZE]


@pytest.mark.parametrize("shape", [(190, 283), (1023, 37), (7, 7)])
def test_the_transform_is_segment_anythings(shape):
    ours, theirs = ResizeLongestSide(256), ReferenceTransform(256)
    image = image_of(*shape)
    assert np.array_equal(ours.apply_image(image), theirs.apply_image(image))
    points, boxes = np.array([[[1, 2], [30.5, 7]]]), np.array([[1, 2, 3, 4.5]])
    assert np.allclose(ours.apply_coords(points, shape), theirs.apply_coords(points, shape), rtol=1e-12)
    assert np.allclose(ours.apply_boxes(boxes, shape), theirs.apply_boxes(boxes, shape), rtol=1e-12)
    points, boxes = torch.tensor(points), torch.tensor(boxes)
    torch.testing.assert_close(ours.apply_coords_torch(points, shape), theirs.apply_coords_torch(points, shape))
    torch.testing.assert_close(ours.apply_boxes_torch(boxes, shape), theirs.apply_boxes_torch(boxes, shape))
    resized = ours.apply_image_torch(torch.rand(2, 3, *shape))
    assert resized.shape == (2, 3, *ours.apply_image(image).shape[:2])


@pytest.mark.parametrize(
    "name", ["set_image", "set_torch_image", "predict", "predict_torch", "get_image_embedding", "reset_image"]
)
def test_methods_have_the_same_arguments(name):
    ours, theirs = (inspect.signature(getattr(c, name)).parameters for c in (SamPredictor, ReferencePredictor))
    assert [(p.name, p.default, p.kind) for p in ours.values()] == [
        (p.name, p.default, p.kind) for p in theirs.values()
    ]


def test_models_and_checkpoints(tmp_path, monkeypatch):
    model = save_tiny_checkpoint(tmp_path / "sam.pth", monkeypatch)
    twin = segment_anything_twin(model, 1024, DIM, DEPTH, HEADS, GLOBAL_BLOCKS)
    answers = []
    for given in (
        model,
        tmp_path / "sam.pth",
        str(tmp_path / "sam.pth"),
        twin,
        sam_model_registry["vit_b"](checkpoint=tmp_path / "sam.pth"),
    ):
        predictor = SamPredictor(given, crop_size=64)
        predictor.set_image(image_of(60, 80))
        answers.append(predictor.predict(box=np.array([10, 10, 30, 30]))[0])
        assert predictor.device.type == "cpu" and not predictor.model.training
    assert all(np.array_equal(answers[0], other) for other in answers) and SamPredictor(model).model is model
    assert sam_model_registry["vit_b"]().mask_decoder is not None and "default" in sam_model_registry
    with pytest.raises(InputError, match="sam_model: expected segment_anything's Sam for 1024 pixels"):
        SamPredictor(segment_anything_twin(model, 512))
    with pytest.raises(InputError, match="sam_model: expected a model or a checkpoint's path, got int"):
        SamPredictor(7)
    with pytest.raises(ValueError, match="crop_size: expected a multiple of 64 up to 1024, got 100"):
        SamPredictor(model, crop_size=100)


def test_wrong_use_is_one_line(model):
    ours = SamPredictor(model, input_size=SIZE)
    for use in (lambda: ours.predict(**BOX), lambda: ours.predict_torch(None, None), ours.get_image_embedding):
        with pytest.raises(RuntimeError, match=r"call set_image\(image\) first"):
            use()
    assert ours.features is None
    image = image_of(60, 80)
    with pytest.raises(InputError, match='image_format: expected "RGB" or "BGR", got \'rgb\''):
        ours.set_image(image, "rgb")
    for wrong, said in (
        (image / 255, "got float64 of shape"),
        (image[..., 0], r"got uint8 of shape \(60, 80\)"),
        ([1], "got list"),
    ):
        with pytest.raises(InputError, match=rf"image: expected an array \(H, W, 3\) of uint8, {said}"):
            ours.set_image(wrong)
    ours.set_image(image)
    with pytest.raises(InputError, match="point_labels: expected one for each of point_coords, got none"):
        ours.predict(np.array([[1, 2]]))
    with pytest.raises(InputError, match=r"box: expected \(4,\) x1, y1, x2, y2, got shape \(2, 4\)"):
        ours.predict(box=np.zeros((2, 4)))
    ours.reset_image()
    assert not ours.is_image_set
    with pytest.raises(RuntimeError):
        ours.predict(**BOX)
