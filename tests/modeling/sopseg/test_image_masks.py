"""Masks of the whole image: in the order of the prompts, and in the frame that is asked for."""

import pytest
import torch

from insight.modeling.sopseg import image_masks, segment, segment_objects
from insight.structures.crop_masks import logits_to_image, paste_windows
from insight.structures.crop_plans import CropPlan, plan_crops
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts

IMAGE = torch.randint(0, 256, (3, 90, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
PROMPTS = oriented_prompts(oriented_corners([[30, 40, 30, 12, 25], [80, 60, 9, 20, 80], [1, 88, 20, 6, 0]]))


@pytest.mark.parametrize("index", [[0, 1, 2], [2, 0, 1]])
def test_masks_are_in_the_order_of_the_prompts_whatever_the_batches(model, monkeypatch, index):
    monkeypatch.setitem(segment.PIXELS_AT_ONCE, "cpu", 2 * 64**2)
    regions = torch.tensor([[10.0, 20, 50, 60], [60, 40, 100, 80], [-20, 60, 20, 100]])[torch.tensor(index).argsort()]
    plan = CropPlan(regions, torch.tensor(index))
    found = image_masks(model, IMAGE, PROMPTS, plan, 64)
    for objects in segment_objects(model, IMAGE, PROMPTS, plan, 64):
        for i, logits, region, iou, _ in zip(*objects):
            mask = paste_windows(logits_to_image(logits[None], region[None]), (90, 120))[0] > 0
            assert (found.masks[[int(i)]].to_bitmaps()[0] != mask).float().mean() < 1e-3 and mask.any()
            assert found.iou[i] == iou


def test_masks_can_be_wanted_for_a_larger_image(model):
    """Every third pixel's centre of the larger image is a pixel's centre of the image that was looked at."""
    plan = plan_crops(PROMPTS, (90, 120), 64)
    plain = image_masks(model, IMAGE, PROMPTS, plan, 64)
    larger = image_masks(model, IMAGE, PROMPTS, plan, 64, mask_size=(270, 360))
    assert larger.masks.image_size == (270, 360) and larger.iou.equal(plain.iou)
    bitmaps = larger.masks.to_bitmaps()
    assert (bitmaps[:, 1::3, 1::3] != plain.masks.to_bitmaps()).float().mean() < 1e-3
    coarse = plain.masks.to_bitmaps().repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert (bitmaps != coarse).any(), "the outline is finer than the smaller image's pixels"


def test_the_plan_follows_the_prompts():
    points = Prompts(points=torch.zeros(3, 1, 2), labels=torch.ones(3, 1, dtype=torch.int64))
    assert plan_crops(points, (90, 120), 64).regions.tolist() == [[0, 0, 120, 120]]
    assert plan_crops(PROMPTS, (90, 120), 64, magnify=False).index.tolist() == [0, 0, 0]
    assert plan_crops(PROMPTS, (90, 120), 64).regions.shape == (3, 4)
    twice = PROMPTS.select(torch.tensor([0, 1, 0]))
    assert plan_crops(twice, (90, 120), 64, shared=0.8).index.tolist() in ([0, 1, 0], [1, 0, 1])
