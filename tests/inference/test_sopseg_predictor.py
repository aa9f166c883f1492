"""SOPSegPredictor: what it answers, whatever the prompts and images come as; without Detectron2."""

import copy
import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.sopseg_predictor import BOXES, CLICKS, IMAGE, SIZE, assert_equal, small_predictor
from helpers.tiny_sopseg import DIM, randomise, save_tiny_checkpoint, segment_anything_twin, small_sopseg
from torch.nn import functional as F

import insight
from insight import SOPSegPredictor
from insight.errors import InputError
from insight.modeling.sopseg import DECODERS, PIXEL_MEAN, PIXEL_STD, prompt_form, segment
from insight.modeling.sopseg.decoders import build_decoder
from insight.modeling.sopseg.model import SOPSeg
from insight.structures.prompts import Prompts


@pytest.fixture(scope="module")
def predictor():
    return small_predictor()


REGIONS = [(12, 19), (59, 42), (-12, -1)]  # their upper left corners


def expected(predictor, region, box, points=None):
    """The answer from a region of 32 pixels: cut by slicing, resized by torch, there and back."""
    x, y = region
    pixels = (torch.tensor(IMAGE).float() - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    crop = F.pad(pixels.permute(2, 0, 1), (32, 32, 32, 32))[None, :, y + 32 : y + 64, x + 32 : x + 64]
    crop = F.interpolate(crop, SIZE, mode="bilinear", align_corners=False)
    to_crop = torch.tensor([x, y])
    prompts = {"boxes": (torch.tensor([box]) - to_crop.repeat(2)) * SIZE / 32}
    if points is not None:
        prompts["points"] = (torch.tensor([points]) - to_crop) * SIZE / 32
        prompts["labels"] = torch.ones(1, len(points), dtype=torch.int64)
    with torch.no_grad():
        found = predictor.model(crop, **prompts)
    mask = F.interpolate(found.mask_logits, 32, mode="bilinear", align_corners=False)[0, 0] > 0
    canvas = torch.zeros(IMAGE.shape[0] + 64, IMAGE.shape[1] + 64, dtype=torch.bool)
    canvas[y + 32 : y + 64, x + 32 : x + 64] = mask
    return canvas[32:-32, 32:-32], found.iou[0]


def assert_same(mask, other):
    assert (mask != other).float().mean() < 1e-3 and mask.any()


def test_every_box_is_answered_from_its_own_region(predictor):
    found = predictor.predict(image=IMAGE, boxes=BOXES)
    assert found.boxes.tolist() == BOXES and len(found.masks) == 3 and found.scores.shape == (3,)
    for mask, score, box, region in zip(found.masks.to_bitmaps(), found.scores, BOXES, REGIONS):
        other_mask, other_score = expected(predictor, region, box)
        assert_same(mask, other_mask)
        assert score == pytest.approx(float(other_score), abs=1e-4)


def test_oriented_boxes_follow_the_boxes_and_prompt_with_their_axis(predictor):
    upright = [[28.0, 35, 16, 10, 0]]  # the first of BOXES
    found = predictor.predict(image=IMAGE, boxes=BOXES[1:2], oriented_boxes=upright)
    assert found.boxes.tolist() == [BOXES[1], BOXES[0]]
    mask, score = expected(predictor, REGIONS[0], BOXES[0], [[24.0, 35], [28, 35], [32, 35]])
    assert_same(found.masks.to_bitmaps()[1], mask)
    assert found.scores[1] == pytest.approx(float(score), abs=1e-4)
    corners = [[20.0, 30, 36, 30, 36, 40, 20, 40]]
    again = predictor.predict(image=IMAGE, oriented_boxes=corners)
    assert again.masks.codes == found.masks.codes[1:] and again.scores.allclose(found.scores[1:], atol=1e-5)


@pytest.mark.parametrize("boxes", [None, [[20.0, 30, 100, 90], [60, 10, 250, 255]]], ids=["points", "boxes and points"])
def test_without_magnification_it_is_sams_predictor(boxes):
    """Points alone are answered so in any case; SAM sees an image of 256 pixels as it is."""
    from segment_anything import SamPredictor

    model = small_sopseg()
    image = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    points = torch.tensor([[[40.0, 50], [80, 70]], [[100.0, 100], [10, 10]]])
    labels = torch.tensor([[1, 1], [1, 0]])
    sam = SamPredictor(segment_anything_twin(model, 256))
    sam.transform.target_length = 256
    sam.set_image(image)
    theirs, quality, _ = sam.predict_torch(points, labels, None if boxes is None else torch.tensor(boxes), None, False)

    predictor = SOPSegPredictor(model, input_size=256, magnify=boxes is None)
    found = predictor.predict(image=image, boxes=boxes, points=points, labels=labels)
    masks = found.masks.to_bitmaps()
    for mask, other in zip(masks, theirs[:, 0]):
        assert_same(mask, other)
    torch.testing.assert_close(found.scores, quality[:, 0], atol=1e-4, rtol=1e-4)
    if boxes is None:
        rows, columns = masks[0].any(1).nonzero(), masks[0].any(0).nonzero()
        around = [float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1]
        assert found.boxes[0].tolist() == around
    else:
        assert found.boxes.tolist() == boxes


@pytest.mark.parametrize(
    "decoder, given, crop, whole", [("sam", None, 512, 1024), ("edge", None, 256, 1024), ("sam", SIZE, SIZE, SIZE)]
)
def test_sizes_of_crops_and_whole_images(monkeypatch, decoder, given, crop, whole):
    """SAM loses three points of IoU in crops of 256 pixels, which SOPSeg's decoder is trained on."""
    model = small_sopseg()
    if decoder == "edge":
        model.mask_decoder = randomise(build_decoder("edge", DIM))
    seen = []

    def encode(crops):
        seen.append(crops.shape[2:])
        return type(model).encode(model, crops)

    monkeypatch.setattr(model, "encode", encode)
    predictor = SOPSegPredictor(model, input_size=given)
    predictor.predict(image=IMAGE, boxes=BOXES[:1])
    predictor.predict(image=IMAGE, points=[[[30.0, 40]]], labels=[[1]])
    SOPSegPredictor(model, input_size=given, magnify=False).predict(image=IMAGE, boxes=BOXES[:1])
    assert seen == [(crop, crop), (whole, whole), (whole, whole)]


@pytest.mark.parametrize("step", ["encode", "decode"])
def test_lack_of_memory_changes_no_mask_and_is_remembered(predictor, monkeypatch, caplog, step):
    expected = predictor.predict(image=IMAGE, boxes=BOXES)
    model = copy.deepcopy(predictor.model)
    work, sizes = getattr(model, step), []

    def short_of_memory(crops, *others):
        sizes.append(len(crops) if step == "encode" else others[1].count)
        if sizes[-1] > 2:  # as an allocation in our operators fails: torch's own class is lost on the way
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return work(crops, *others)

    monkeypatch.setattr(model, step, short_of_memory)
    short = SOPSegPredictor(model, input_size=SIZE)
    for attempts in ([3, 1, 1, 1], [1, 1, 1]):
        sizes.clear()
        found = short.predict(image=IMAGE, boxes=BOXES)
        assert found.masks.codes == expected.masks.codes
        torch.testing.assert_close(found.scores, expected.scores, atol=1e-4, rtol=1e-4)
        assert sizes == attempts
    assert caplog.text.count("out of memory with 3 crops or prompts: continuing with 1") == 1


@pytest.mark.parametrize("decoder", DECODERS)
def test_bfloat16(decoder):
    small = small_sopseg()
    mask_decoder = randomise(build_decoder(decoder, small.image_encoder.shallow_channels))
    model = SOPSeg(small.image_encoder, small.prompt_encoder, mask_decoder)
    expected = SOPSegPredictor(model, input_size=SIZE).predict(
        image=IMAGE, boxes=BOXES, oriented_boxes=[[28.0, 35, 16, 10, 20]]
    )
    found = SOPSegPredictor(copy.deepcopy(model).bfloat16(), input_size=SIZE).predict(
        image=IMAGE, boxes=BOXES, oriented_boxes=[[28.0, 35, 16, 10, 20]]
    )
    assert found.scores.dtype == torch.float32
    torch.testing.assert_close(found.scores, expected.scores, atol=0.1, rtol=0.1)
    assert (found.masks.to_bitmaps() != expected.masks.to_bitmaps()).float().mean() < 0.02


def test_the_predictor_casts_the_model(predictor, tmp_path, monkeypatch):
    given, model = copy.deepcopy(predictor.model), copy.deepcopy(predictor.model).bfloat16()
    as_it_is = SOPSegPredictor(model, input_size=SIZE)
    assert as_it_is.model is model and next(model.parameters()).dtype == torch.bfloat16
    expected = as_it_is.predict(image=IMAGE, boxes=BOXES)
    assert_equal(
        SOPSegPredictor(given, input_size=SIZE, dtype=torch.bfloat16).predict(image=IMAGE, boxes=BOXES), expected
    )
    assert SOPSegPredictor(model, dtype=torch.float32).model is model
    assert next(model.parameters()).dtype == torch.float32
    save_tiny_checkpoint(tmp_path / "model.pth", monkeypatch)
    for dtype in (None, torch.bfloat16):
        loaded = SOPSegPredictor(tmp_path / "model.pth", dtype=dtype).model
        assert next(loaded.parameters()).dtype == (dtype or torch.float32)
    with pytest.raises(ValueError, match="dtype: expected torch.float32 or torch.bfloat16, got torch.float16"):
        SOPSegPredictor(model, dtype=torch.float16)


def test_points_refine_a_box(predictor):
    alone = predictor.predict(image=IMAGE, boxes=BOXES[:1])
    both = predictor.predict(
        image=IMAGE, boxes=BOXES[:1], points=[[[24.0, 35], [28, 35], [32, 35]]], labels=[[1, 1, 1]]
    )
    mask, _ = expected(predictor, REGIONS[0], BOXES[0], [[24.0, 35], [28, 35], [32, 35]])
    assert_same(both.masks.to_bitmaps()[0], mask)
    assert both.masks.codes != alone.masks.codes
    filled = predictor.predict(
        image=IMAGE, boxes=BOXES[:1], points=[[[24.0, 35], [28, 35], [32, 35], [500, 500]]], labels=[[1, 1, 1, -1]]
    )
    assert filled.scores != both.scores  # SAM has an embedding for "no point"; where it is written does not matter
    again = predictor.predict(
        image=IMAGE, boxes=BOXES[:1], points=[[[24.0, 35], [28, 35], [32, 35], [0, np.nan]]], labels=[[1, 1, 1, -1]]
    )
    assert again.scores.equal(filled.scores) and again.masks.codes == filled.masks.codes


def test_close_objects_may_share_crops(predictor, monkeypatch):
    close = [[20.0, 30, 36, 40], [24, 42, 40, 52], [70, 50, 80, 66]]
    seen = []
    encode = type(predictor.model).encode
    monkeypatch.setattr(
        type(predictor.model), "encode", lambda self, crops: seen.append(len(crops)) or encode(self, crops)
    )
    found = SOPSegPredictor(predictor.model, input_size=SIZE, shared_crops=0.8).predict(image=IMAGE, boxes=close)
    assert seen == [2]
    assert (
        found.boxes.tolist() == close
        and found.masks.codes[2] == predictor.predict(image=IMAGE, boxes=close).masks.codes[2]
    )


def test_a_box_larger_than_the_image_is_fine(predictor):
    found = predictor.predict(
        image=IMAGE, boxes=[[-3000.0, -2000, 4000, 3000]], oriented_boxes=[[60, 45, 500, 300, 20]]
    )
    assert found.masks.to_bitmaps().shape == (2, 90, 120) and found.scores.isfinite().all()


WITHOUT_DETECTRON2 = """
import sys
sys.modules["detectron2"] = None  # importing it now raises ImportError
import numpy, torch
from PIL import Image
from insight import SOPSegPredictor
from insight.checkpoint import CheckpointError
from insight.errors import InputError
from insight.modeling.sopseg import build_sopseg

folder = sys.argv[1]
torch.save(build_sopseg("vit_t", "edge").state_dict(), f"{folder}/model.pth")
Image.fromarray(numpy.zeros((50, 60, 3), numpy.uint8)).save(f"{folder}/image.png")
predictor = SOPSegPredictor(f"{folder}/model.pth", input_size=64)
found = predictor.predict(
    image=f"{folder}/image.png", boxes=[[10, 10, 20, 20]], oriented_boxes=[[30, 30, 20, 9, 45]]
)
assert found.masks.to_bitmaps().shape == (2, 50, 60)
import insight
import insight.data.formats.image_folders, insight.inference.files, insight.sam
boxes = insight.inference.prompt_files.parse_boxes(["10,10,20,20"])
files = insight.inference.files.FilePredictor(
    ["object"], lambda image, prompts: predictor.predict(image=image, boxes=prompts.boxes)
)
image = insight.data.formats.image_folders.find_images([f"{folder}/image.png"])
assert insight.inference.files.predict_files(files, image, f"{folder}/out", boxes) == (1, {})
found.save(f"{folder}/found.json")
found.plot(f"{folder}/image.png")
assert len(insight.masks(f"{folder}/image.png", [[10, 10, 20, 20]], model=predictor)) == 1
sam = insight.sam.SamPredictor(predictor.model, crop_size=64)
sam.set_image(numpy.zeros((50, 60, 3), numpy.uint8))
sam.predict(box=numpy.array([10, 10, 20, 20]))
try:
    from insight import PromptPredictor
except ImportError as error:
    print(error)
"""


def test_needs_no_detectron2(tmp_path):
    root = Path(insight.__file__).resolve().parent.parent
    command = [sys.executable, "-c", WITHOUT_DETECTRON2, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert (
        "insight.PromptPredictor needs Detectron2, which is not installed; run `insight install-detectron2`"
        in done.stdout
    )


def test_memory_does_not_grow_with_the_number_of_boxes(predictor, monkeypatch):
    """By the tensors that are alive: what the process holds depends on all that it has done before."""
    encode, alive = predictor.model.encode, []

    def watched(crops, *others):
        gc.collect()
        tensors = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
        alive.append(sum(t.numel() * t.element_size() for t in tensors))
        return encode(crops, *others)

    monkeypatch.setattr(predictor.model, "encode", watched)
    monkeypatch.setitem(segment.PIXELS_AT_ONCE, "cpu", 16 * SIZE**2)
    corners = np.random.default_rng(2).uniform(0, 60, (160, 2))
    boxes = np.concatenate([corners, corners + 20], 1)
    most = []
    for count in (32, 160):
        alive.clear()
        predictor.predict(image=IMAGE, boxes=boxes[:count])
        assert len(alive) == count / 16
        most.append(max(alive))
    assert most[1] - most[0] < (160 - 32) * 4 * SIZE**2 / 50  # kept logits would be 4 * SIZE**2 a box


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(predictor):
    found = predictor.predict(image=IMAGE, boxes=BOXES)
    other = SOPSegPredictor(copy.deepcopy(predictor.model), input_size=SIZE, device="cuda").predict(
        image=IMAGE, boxes=BOXES
    )
    for mask, same in zip(other.masks.to_bitmaps(), found.masks.to_bitmaps()):
        assert (mask != same).float().mean() < 1e-3
    torch.testing.assert_close(other.scores, found.scores, atol=1e-3, rtol=1e-3)


def test_classes_are_recorded(predictor):
    found = predictor.predict(image=IMAGE, boxes=BOXES, classes=["ship", "car", "ship"])
    assert found.class_names == ["ship", "car", "ship"] and found.categories == ["ship", "car"]
    assert predictor.predict(image=IMAGE, boxes=BOXES, classes="ship").class_names == ["ship"] * 3
    numbered = predictor.predict(image=IMAGE, boxes=BOXES, classes=np.array([2, 0, 2]), multimask=True)
    assert numbered.class_ids.tolist() == [2] * 3 + [0] * 3 + [2] * 3 and numbered.categories == ["0", "1", "2"]
    assert predictor.predict(image=IMAGE, boxes=BOXES).class_names == ["object"] * 3
    wrongs = [(["a"], "got 1"), ([0, "a", 1], "expected class names or indices"), ([-1, 0, 1], "from 0")]
    for wrong, said in [*wrongs, ([0, 10**12, 1], "up to 9999, got 1000000000000")]:
        with pytest.raises(InputError, match=f"^classes: .*{said}"):
            predictor.predict(image=IMAGE, boxes=BOXES, classes=wrong)


@pytest.mark.parametrize(
    "prompts",
    [{"boxes": BOXES}, {"boxes": BOXES[:1], "oriented_boxes": [[60.0, 45, 16, 10, 20]]}, CLICKS],
    ids=["boxes", "with oriented boxes", "points"],
)
def test_logits_are_those_of_the_masks(predictor, prompts):
    found = predictor.predict(image=IMAGE, return_logits=True, **prompts)
    assert_equal(found, predictor.predict(image=IMAGE, **prompts))
    count = len(found)
    assert found.logits.crops.shape == (count, SIZE, SIZE) and found.logits.low_res.shape == (
        count,
        SIZE // 4,
        SIZE // 4,
    )
    image = found.logits.to_image(found.image_size)
    assert image.shape == (count, 90, 120) and ((image > 0) == found.masks.to_bitmaps()).float().mean() > 1 - 1e-4
    upsampled = F.interpolate(found.logits.low_res[:, None], SIZE, mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(found.logits.crops, upsampled, atol=1e-4, rtol=1e-4)
    assert predictor.predict(image=IMAGE, **prompts).logits is None


def test_three_masks_for_each_prompt(predictor):
    oriented = [[60.0, 45, 16, 10, 20]]
    found = predictor.predict(image=IMAGE, boxes=BOXES, oriented_boxes=oriented, multimask=True, return_logits=True)
    assert len(found) == 12 and found.prompt_ids.tolist() == [i for i in range(4) for _ in range(3)]
    assert found.boxes[3:6].tolist() == [BOXES[1]] * 3 and found.oriented_boxes[9:].isfinite().all()
    assert found.oriented_boxes[:9].isnan().all() and found.logits.crops.shape == (12, SIZE, SIZE)
    for i, (x, y) in enumerate(REGIONS):
        pixels = (torch.tensor(IMAGE).float() - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
        crop = F.pad(pixels.permute(2, 0, 1), (32, 32, 32, 32))[None, :, y + 32 : y + 64, x + 32 : x + 64]
        crop = F.interpolate(crop, SIZE, mode="bilinear", align_corners=False)
        box = (torch.tensor([BOXES[i]]) - torch.tensor([x, y]).repeat(2)) * SIZE / 32
        with torch.no_grad():
            inputs = predictor.model.decoder_input(crop, predictor.model.encode(crop), Prompts(box))
            low_res, quality = predictor.model.mask_decoder.multimask(inputs)
        rows = found[found.prompt_ids == i]
        torch.testing.assert_close(rows.scores, quality[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(rows.logits.low_res, low_res[0], atol=1e-3, rtol=1e-3)
    clicked = predictor.predict(image=IMAGE, multimask=True, **CLICKS)
    assert len(clicked) == 6 and clicked.boxes.shape == (6, 4) and len(set(map(str, clicked.masks.codes))) > 2


def test_an_earlier_answer_is_refined(predictor):
    """As segment-anything's predictor does with its own low-resolution logits."""
    from segment_anything import SamPredictor

    model = small_sopseg()
    image = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    sam = SamPredictor(segment_anything_twin(model, 256))
    sam.transform.target_length = 256
    sam.set_image(image)
    point, label, box = np.array([[60.0, 70]]), np.array([1]), np.array([20.0, 30, 100, 90])
    _, _, first = sam.predict(point, label, box, multimask_output=True)
    theirs, quality, _ = sam.predict(point, label, box, mask_input=first[1:2], multimask_output=False)

    whole = SOPSegPredictor(model, input_size=256, magnify=False)
    whole.set_image(image)
    prompts = {"points": point, "labels": label, "boxes": box}
    three = whole.predict(**prompts, multimask=True, return_logits=True)
    refined = whole.predict(**prompts, mask_input=three[1].logits.low_res)
    assert_same(refined.masks.to_bitmaps()[0], torch.from_numpy(theirs[0]))
    assert refined.scores.item() == pytest.approx(quality[0], abs=1e-4)
    unrefined = whole.predict(**prompts)
    assert refined.masks.codes != unrefined.masks.codes

    found = predictor.predict(image=IMAGE, boxes=BOXES, oriented_boxes=[[60, 45, 16, 10, 20]], return_logits=True)
    again = predictor.predict(
        image=IMAGE,
        boxes=BOXES,
        oriented_boxes=[[60, 45, 16, 10, 20]],
        mask_input=found.logits.low_res[:, None].numpy(),
    )
    assert all(a != b for a, b in zip(again.masks.codes, found.masks.codes))
    for wrong in (found.logits.low_res[:3], found.logits.crops, found.logits.low_res[0]):
        with pytest.raises(InputError, match=r"^mask_input: expected shape \(4, 16, 16\), got "):
            predictor.predict(image=IMAGE, boxes=BOXES, oriented_boxes=[[60, 45, 16, 10, 20]], mask_input=wrong)


@pytest.mark.parametrize("decoder", ["sam", "edge"])
def test_oriented_boxes_prompt_a_model_as_it_was_trained_for(decoder, monkeypatch, caplog):
    model = small_sopseg()
    if decoder != "sam":
        model.mask_decoder = randomise(build_decoder(decoder, model.image_encoder.pos_embed.shape[-1]))
    seen = []
    real = segment.segment_objects

    def spy(model, image, prompts, *args, **options):
        seen.append(prompts)
        return real(model, image, prompts, *args, **options)

    monkeypatch.setattr(sys.modules["insight.modeling.sopseg.image_masks"], "segment_objects", spy)
    monkeypatch.setattr("insight.modeling.sopseg.prompt_form._say_once", prompt_form._say_once.__wrapped__)
    oriented = [[28.0, 35, 16, 6, 30]]
    for prompt in (None, "box", "oriented_box"):
        predictor = SOPSegPredictor(model, input_size=SIZE, prompt=prompt)
        predictor.predict(oriented_boxes=oriented, image=IMAGE)
    assert [prompts.points is not None for prompts in seen] == [decoder != "sam", False, True]
    assert torch.equal(seen[0].boxes, seen[1].boxes) and torch.equal(seen[1].boxes, seen[2].boxes)
    said = [record.getMessage() for record in caplog.records if "was trained with horizontal boxes" in record.message]
    assert len(said) == (decoder == "sam")
    with pytest.raises(InputError, match="^prompt: expected oriented_box or box, got 'point'"):
        SOPSegPredictor(model, prompt="point")


def test_a_large_image_that_is_seen_as_a_whole_is_told_once(caplog):
    predictor = SOPSegPredictor(small_sopseg(), input_size=SIZE)
    large = np.zeros((200, 140, 3), np.uint8)
    for _ in range(2):
        predictor.predict(boxes=BOXES[:1], image=large)  # magnified
    assert not caplog.records
    for _ in range(2):
        predictor.predict(points=[[30, 40]], labels=[1], image=large)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and said[0].startswith("an image of 140 x 200 pixels is shrunk to 0.32 of its size"), said
