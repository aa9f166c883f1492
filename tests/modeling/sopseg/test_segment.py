"""Segmenting an image's objects in batches: the same masks as one by one, whatever the batches are."""

import pytest
import torch

from insight.modeling.sopseg import PIXEL_MEAN, PIXEL_STD, segment, segment_objects
from insight.modeling.sopseg.segment import Batches
from insight.ops import crop_resize
from insight.structures.crop_plans import CropPlan, one_crop_each, whole_image
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts

IMAGE = torch.randint(0, 256, (3, 90, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
PROMPTS = oriented_prompts(
    oriented_corners(
        [[30, 40, 30, 12, 25], [80, 60, 9, 20, 80], [100, 20, 8, 8, 0], [60, 45, 40, 30, 10], [5, 85, 20, 6, 0]]
    )
)


def gather(model, plan, prompts=PROMPTS, size=64):
    """All objects in the order of the prompts, and the number of batches."""
    batches = list(segment_objects(model, IMAGE, prompts, plan, size))
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index.tolist()) == list(range(prompts.count))
    fields = (torch.cat(parts)[index.argsort()] for parts in list(zip(*batches))[1:])
    return *fields, len(batches)


@torch.no_grad()
def test_equals_the_model_on_one_crop_at_a_time(model):
    plan = one_crop_each(PROMPTS.boxes)
    logits, regions, iou, _ = gather(model, plan)
    assert torch.equal(regions, plan.regions)
    for i in range(PROMPTS.count):
        crop = crop_resize(IMAGE[None], plan.regions[i : i + 1], 64, mean=PIXEL_MEAN, std=PIXEL_STD)
        alone = model(crop, *PROMPTS.select(torch.tensor([i])).to_crops(plan.regions[i : i + 1], 64))
        torch.testing.assert_close(logits[i], alone.mask_logits[0, 0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(iou[i], alone.iou[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "plan",
    [
        one_crop_each(PROMPTS.boxes),
        whole_image(PROMPTS.count, (90, 120), 64),
        CropPlan(
            torch.tensor([[0.0, 0, 60, 60], [200.0, 0, 210, 10], [40.0, 10, 120, 90]]), torch.tensor([2, 2, 0, 2, 0])
        ),
    ],
    ids=["one each", "whole image", "shared, one region without prompts"],
)
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_batches_do_not_matter(model, monkeypatch, plan, at_once):
    expected = gather(model, plan)
    monkeypatch.setitem(segment.PIXELS_AT_ONCE, "cpu", at_once * 64**2)
    found = gather(model, plan)
    for ours, theirs in zip(found[:3], expected[:3]):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert found[3] > expected[3]


def test_every_region_is_encoded_once(model, monkeypatch):
    seen = []
    encode = type(model).encode
    monkeypatch.setattr(type(model), "encode", lambda self, crops: seen.append(len(crops)) or encode(self, crops))
    monkeypatch.setitem(segment.PIXELS_AT_ONCE, "cpu", 2 * 64**2)
    gather(model, whole_image(PROMPTS.count, (90, 120), 64))
    assert seen == [1]


def test_points_alone(model):
    points = Prompts(points=torch.tensor([[[30.0, 40.0]], [[80.0, 60.0]]]), labels=torch.ones(2, 1, dtype=torch.int64))
    logits, regions, _, _ = gather(model, whole_image(2, (90, 120), 64), points)
    assert logits.shape == (2, 64, 64) and not torch.equal(logits[0], logits[1])
    torch.testing.assert_close(regions, torch.tensor([[0.0, 0, 120, 120]] * 2))


def test_no_prompts(model):
    nothing = Prompts(torch.zeros(0, 4))
    assert list(segment_objects(model, IMAGE, nothing, one_crop_each(nothing.boxes), 64)) == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB"),  # of an allocation in our operators
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_lack_of_memory_halves_the_batch_and_loses_nothing(caplog, error):
    sizes = []

    def work(part):
        sizes.append(part.stop - part.start)
        if sizes[-1] > 3:
            raise error
        return list(range(part.start, part.stop))

    batches = Batches(8)
    assert [i for _, done in batches.run(10, work) for i in done] == list(range(10))
    assert sizes == [8, 4, 2, 2, 2, 2, 2] and batches.at_once == 2
    assert "out of memory with 4 crops or prompts: going on with 2" in caplog.text


def test_other_errors_and_single_items_are_not_retried():
    def fail(_):
        raise RuntimeError("shape mismatch")

    def too_large(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(Batches(4).run(4, fail))
    with pytest.raises(torch.OutOfMemoryError):
        list(Batches(4).run(4, too_large))
