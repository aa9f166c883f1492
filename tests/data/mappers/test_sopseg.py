"""SOPSeg's mapper: crops, prompts and masks stay together, whatever is random."""

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BoxMode
from PIL import Image
from pycocotools import mask as coco_mask

from insight.config import load_config
from insight.data.mappers.sopseg import SOPSegMapper, one_object_each
from insight.modeling.sopseg import PIXEL_MEAN, PIXEL_STD

SIZE = (60, 80)
TRIANGLE = [[20.0, 10.0, 50.0, 30.0, 20.0, 40.0]]
SQUARE = [[60.0, 45.0, 70.0, 45.0, 70.0, 55.0, 60.0, 55.0]]


def make_mapper(is_train=True, **options):
    defaults = {"input_size": 128, "magnify": True, "prompt": "min_area_rect", "jitter": 0.0, "max_prompts": 8}
    return SOPSegMapper(is_train, **{**defaults, **options})


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    """An image whose red band is the triangle and the square themselves."""
    path = tmp_path_factory.mktemp("image") / "shapes.png"
    picture = np.zeros((*SIZE, 3), np.uint8)
    for polygon in (TRIANGLE, SQUARE):
        code = coco_mask.merge(coco_mask.frPyObjects(polygon, *SIZE))
        picture[coco_mask.decode(code) > 0, 0] = 255
    Image.fromarray(picture).save(path)
    annotations = [
        {"bbox": [20, 10, 30, 30], "category_id": 3, "segmentation": TRIANGLE, "oriented_box": [35, 25, 30, 30, 0]},
        {"bbox": [60, 45, 10, 10], "category_id": 5, "segmentation": SQUARE, "oriented_box": [65, 50, 10, 10, 45]},
        {"bbox": [0, 0, 9, 9], "category_id": 5, "segmentation": SQUARE, "iscrowd": 1},
    ]
    annotations = [{"bbox_mode": BoxMode.XYWH_ABS, **annotation} for annotation in annotations]
    return {"file_name": str(path), "image_id": 4, "height": 60, "width": 80, "annotations": annotations}


def painted(crops):
    """Where the red band of normalised crops is bright."""
    return crops[:, 0] * PIXEL_STD[0] + PIXEL_MEAN[0] > 127.5


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("magnify, shared", [(True, 0.0), (False, 0.0), (True, 0.6)])
def test_masks_and_prompts_follow_the_crop(entry, seed, magnify, shared):
    sample = make_mapper(magnify=magnify, shared_crops=shared)({**entry, "sample_seed": seed})
    assert sample["crops"].shape == ((2 if magnify else 1), 3, 128, 128)
    assert sample["masks"].shape == (2, 128, 128) and sample["masks"].dtype == torch.bool
    shown = painted(sample["crops"])[sample["index"]]
    for mask, seen, box, points in zip(sample["masks"], shown, sample["prompts"].boxes, sample["prompts"].points):
        rows, columns = torch.nonzero(mask, as_tuple=True)
        x1, y1, x2, y2 = box.tolist()
        assert columns.min() >= x1 - 1.5 and columns.max() <= x2 + 0.5
        assert rows.min() >= y1 - 1.5 and rows.max() <= y2 + 0.5
        inside = torch.zeros_like(mask)
        inside[max(0, round(y1)) : round(y2), max(0, round(x1)) : round(x2)] = True
        assert ((mask != seen) & inside).float().sum() < 0.06 * mask.sum()
        centre = points[1]
        torch.testing.assert_close(centre, (points[0] + points[2]) / 2)


def test_randomness_follows_the_seed_alone(entry):
    mapper = make_mapper(jitter=0.2)
    first, again, other = (mapper({**entry, "sample_seed": seed}) for seed in (1, 1, 2))
    assert torch.equal(first["crops"], again["crops"]) and torch.equal(first["prompts"].boxes, again["prompts"].boxes)
    assert not torch.equal(first["crops"], other["crops"])


def test_objects_are_drawn_where_there_are_too_many(entry):
    mapper = make_mapper(max_prompts=1)
    masks = [mapper({**entry, "sample_seed": seed})["masks"] for seed in range(8)]
    assert all(len(mask) == 1 for mask in masks)
    # Twice magnified the square fills a quarter of its crop, the triangle an eighth; the crowd is never drawn.
    shares = {round(mask.float().mean().item() * 8) for mask in masks}
    assert shares == {1, 2}


def test_evaluation_gives_the_image_and_the_truth(entry):
    sample = make_mapper(is_train=False, prompt="box")(entry)
    assert sample["image"].shape == (3, *SIZE) and sample["image"].dtype == torch.uint8
    assert sample["prompts"].boxes.tolist() == [[20, 10, 50, 40], [60, 45, 70, 55]] and sample["prompts"].points is None
    assert sample["classes"] == [3, 5] and coco_mask.area(sample["truth"]).tolist()[1] == 100
    assert (sample["image_id"], sample["height"], sample["width"]) == (4, *SIZE)


def test_oriented_prompts_of_the_mask_and_of_the_data_set(entry):
    around = make_mapper(is_train=False)(entry)["prompts"]
    mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(TRIANGLE, *SIZE)))
    outline = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
    (cx, cy), _, _ = cv2.minAreaRect(outline)
    assert torch.allclose(around.points[0, 1], torch.tensor([cx + 0.5, cy + 0.5]), atol=1.0)
    given = make_mapper(is_train=False, prompt="oriented_box")(entry)["prompts"]
    half = 5 * 2**0.5
    torch.testing.assert_close(given.boxes[1], torch.tensor([65 - half, 50 - half, 65 + half, 50 + half]))


@pytest.mark.parametrize("prompt", ["box", "oriented_box"])
def test_jitter_moves_each_side_by_its_share_at_most(entry, prompt):
    mapper = make_mapper(is_train=False, prompt=prompt, jitter=0.1)
    exact = make_mapper(is_train=False, prompt=prompt)(entry)["prompts"].boxes[0]
    moved = torch.stack([mapper({**entry, "sample_seed": seed})["prompts"].boxes[0] for seed in range(50)])
    assert (moved - exact).abs().max() <= 3.0 + 1e-4 and (moved - exact).abs().amax(0).min() > 2.0


def test_in_training_each_sample_has_its_own_largest_shift(entry):
    """Measured on the exact box's axes: uniform up to the share, so half of the samples shift at most half as far."""
    only = {**entry, "annotations": entry["annotations"][:1]}
    exact, jittered = make_mapper(prompt="oriented_box"), make_mapper(prompt="oriented_box", jitter=0.2)
    widest = []
    for seed in range(60):
        sample = jittered({**only, "sample_seed": seed})["prompts"]
        sides = [(sample.corners[0, i] - sample.corners[0, i - 1]).norm() for i in (1, 2)]
        truth = exact({**only, "sample_seed": seed})["prompts"]
        true_sides = [(truth.corners[0, i] - truth.corners[0, i - 1]).norm() for i in (1, 2)]
        widest.append(max(abs(float(a / b) - 1) for a, b in zip(sides, true_sides)))
    # A change of a side is at most twice its shift. The crops' magnification follows the boxes, and so does the scale.
    assert max(widest) > 0.15 and sum(change < 0.1 for change in widest) > 20


def test_in_training_loose_oriented_boxes_are_rotated(entry):
    def angles(jitter: float) -> torch.Tensor:
        found = []
        for seed in range(40):
            corners = make_mapper(prompt="oriented_box", jitter=jitter)({**entry, "sample_seed": seed})[
                "prompts"
            ].corners
            along = corners[0, 1] - corners[0, 0]
            found.append(torch.rad2deg(torch.atan2(along[1], along[0])) % 90)  # samples rotate by multiples of 90 too
        return torch.stack(found)

    def off(angle: torch.Tensor) -> torch.Tensor:
        return torch.minimum(angle % 45, 45 - angle % 45)  # the boxes lie at 0 or 45 degrees

    assert off(angles(0.0)).max() < 0.1
    assert 3.0 < off(angles(0.3)).max() <= 9.1


def test_a_share_of_the_training_samples_has_horizontal_boxes(entry):
    mapper = make_mapper(box_share=0.25)
    samples = [mapper({**entry, "sample_seed": seed})["prompts"] for seed in range(80)]
    assert 10 <= sum(prompts.points is None for prompts in samples) <= 30
    every = make_mapper(box_share=1.0)({**entry, "sample_seed": 0})["prompts"]
    assert every.points is None and every.count == 2
    evaluated = make_mapper(is_train=False, box_share=1.0)(entry)["prompts"]
    assert evaluated.points.shape == (2, 3, 2)
    with pytest.raises(ValueError, match="BOX_SHARE: expected a number from 0 to 1, got 1.5"):
        make_mapper(box_share=1.5)


def test_a_share_of_the_objects_is_cut_by_the_border_of_the_image(entry):
    """The prompt is then that of the part that is left, and the crop shows nothing beyond the border."""
    square = {**entry, "annotations": entry["annotations"][1:2]}
    options = {"input_size": 128, "prompt": "box"}
    whole = [make_mapper(**options)({**square, "sample_seed": seed}) for seed in range(80)]
    cut = [make_mapper(**options, cut_share=0.5)({**square, "sample_seed": seed}) for seed in range(80)]
    shares = [float(sample["masks"].float().mean()) for sample in cut]
    # A part of the square fills less of its crop than the whole, as the crop follows the longer side.
    assert 25 <= sum(share < 0.9 * float(whole[0]["masks"].float().mean()) for share in shares) <= 55
    for sample in cut:
        rows, columns = torch.nonzero(sample["masks"][0], as_tuple=True)
        extent = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        torch.testing.assert_close(sample["prompts"].boxes[0], extent.float(), atol=1.5, rtol=0)
        seen = painted(sample["crops"])[0]
        assert (seen != sample["masks"][0]).float().mean() < 0.05
    evaluated = make_mapper(is_train=False, prompt="box", cut_share=1.0)(square)
    assert evaluated["prompts"].boxes.tolist() == [[60, 45, 70, 55]]
    with pytest.raises(ValueError, match="CUT_SHARE: expected a number from 0 to 1, got -1"):
        make_mapper(cut_share=-1)
    with pytest.raises(ValueError, match="CUT_SHARE: needs .* box or min_area_rect, got True and 'oriented_box'"):
        make_mapper(cut_share=0.5, prompt="oriented_box")


def test_prompts_follow_the_outlines_with_errors_and_the_image_stays(entry):
    """A prompt of evaluation comes from an annotator's mask; so do those of training."""
    square = {**entry, "annotations": entry["annotations"][1:2]}
    options = {"input_size": 128, "prompt": "box"}
    seen, extents = [], []
    for seed in range(60):
        sample = make_mapper(**options, outline_error=3.0)({**square, "sample_seed": seed})
        rows, columns = torch.nonzero(sample["masks"][0], as_tuple=True)
        extent = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        torch.testing.assert_close(sample["prompts"].boxes[0], extent, atol=1.5, rtol=0)
        seen.append((painted(sample["crops"])[0] & ~sample["masks"][0]).float().mean())
        extents.append((painted(sample["crops"])[0].sum() / sample["masks"][0].sum()).item())
    assert min(extents) < 0.6 and max(extents) > 0.9  # the square of 10 pixels is outlined as one of up to 16
    assert max(seen) > 0.01  # and beside itself
    exact = make_mapper(is_train=False, prompt="box", outline_error=3.0, blur=2.0)(square)
    assert exact["prompts"].boxes.tolist() == [[60, 45, 70, 55]]
    with pytest.raises(ValueError, match="OUTLINE_ERROR: expected a number of pixels, 0 or more, got -1"):
        make_mapper(outline_error=-1)
    with pytest.raises(ValueError, match="OUTLINE_ERROR: needs .* box or min_area_rect, got True and 'oriented_box'"):
        make_mapper(outline_error=0.5, prompt="oriented_box")


def test_training_images_are_blurred_by_up_to_so_much(entry):
    square = {**entry, "annotations": entry["annotations"][1:2]}
    edges = []
    for seed in range(30):
        crops = make_mapper(input_size=128, prompt="box", blur=2.0)({**square, "sample_seed": seed})["crops"]
        edges.append(float((crops[..., 1:] - crops[..., :-1]).abs().amax()))
    sharp = make_mapper(input_size=128, prompt="box")({**square, "sample_seed": 0})["crops"]
    largest = float((sharp[..., 1:] - sharp[..., :-1]).abs().amax())
    assert max(edges) == pytest.approx(largest, rel=0.1) and min(edges) < 0.5 * largest
    with pytest.raises(ValueError, match="BLUR: expected a number of pixels, 0 or more, got nan"):
        make_mapper(blur=float("nan"))


def test_a_data_set_without_oriented_boxes_is_refused(entry):
    bare = {**entry, "annotations": [{k: v for k, v in entry["annotations"][0].items() if k != "oriented_box"}]}
    with pytest.raises(ValueError, match='annotations without "oriented_box"; use min_area_rect'):
        make_mapper(prompt="oriented_box")(bare)


@pytest.mark.parametrize("prompt", ["min_area_rect", "box"])
def test_a_mask_without_a_pixel_is_left_out_by_name(entry, caplog, prompt):
    between = [[30.6, 20.6, 30.9, 20.6, 30.9, 20.9]]  # the centres of pixels
    thin = {"bbox": [30.6, 20.6, 0.3, 0.3], "bbox_mode": 1, "category_id": 5, "segmentation": between}
    assert coco_mask.area(coco_mask.frPyObjects(between, *SIZE)).sum() == 0
    annotations = [entry["annotations"][0], thin, *entry["annotations"][1:]]
    sample = make_mapper(is_train=False, prompt=prompt)({**entry, "annotations": annotations})
    assert sample["classes"] == [3, 5] and len(sample["truth"]) == sample["prompts"].count == 2
    said = "shapes.png: the ground-truth mask at box [30.6, 20.6, 0.3, 0.3] covers no pixel and is left out"
    assert said in caplog.text
    assert len(caplog.records) == 1


def test_unknown_prompt():
    with pytest.raises(ValueError, match="MODEL.SOPSEG.PROMPT: expected one of box, min_area_rect, oriented_box"):
        make_mapper(prompt="circle")


def test_an_image_without_objects(entry):
    sample = make_mapper(magnify=False)({**entry, "annotations": []})
    assert sample["masks"].shape == (0, 128, 128) and sample["crops"].shape == (1, 3, 128, 128)


def test_one_object_each(entry):
    parts = one_object_each([entry, {**entry, "annotations": []}])
    assert [part["annotations"][0]["category_id"] for part in parts] == [3, 5]
    assert all(part["image_id"] == 4 for part in parts)


def test_without_a_seed_the_image_decides_also_if_its_id_is_text(entry):
    mapper = make_mapper(is_train=False, prompt="box", jitter=0.1)
    boxes = [mapper({**entry, "image_id": name})["prompts"].boxes for name in ("a", "a", "b", 4)]
    assert torch.equal(boxes[0], boxes[1]) and not torch.equal(boxes[0], boxes[2])
    assert torch.equal(boxes[3], mapper({**entry, "sample_seed": 4})["prompts"].boxes)


def test_another_order_of_colours_is_refused():
    with pytest.raises(ValueError, match="INPUT.FORMAT: expected RGB, which SOPSeg always reads, got 'BGR'"):
        SOPSegMapper(load_config("", ["INPUT.FORMAT", "BGR"]), is_train=True)
