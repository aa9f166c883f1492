"""Which crops serve which prompts."""

import pytest
import torch

from insight.data.formats.oriented import read_dota
from insight.structures.crop_plans import (
    one_crop_each,
    plan_crops,
    shared_crops,
    split_off_unseen_points,
    training_crops,
    whole_image,
)
from insight.structures.crop_regions import CropSchedule, crop_regions, points_to_crop, random_positions
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts


def marina(count, seed=0, extent=600.0):
    generator = torch.Generator().manual_seed(seed)
    sides = 8 + 40 * torch.rand(count, 2, generator=generator)
    corners = extent * torch.rand(count, 2, generator=generator)
    return torch.cat([corners, corners + sides], 1)


def test_one_crop_each_is_the_schedule():
    boxes = marina(5)
    plan = one_crop_each(boxes)
    assert torch.equal(plan.regions, crop_regions(boxes)) and plan.index.tolist() == list(range(5))


def test_whole_image_is_a_square_from_the_upper_left():
    plan = whole_image(2, (90, 120), 128)
    assert plan.regions.tolist() == [[0, 0, 120, 120]] and plan.index.tolist() == [0, 0]
    assert plan.resized == (96, 128)


@pytest.mark.parametrize("size", [(1111, 1182), (1182, 1111), (512, 512), (1, 5000), (768, 1024)])
def test_whole_image_is_resized_as_sam_does(size):
    from segment_anything.utils.transforms import ResizeLongestSide

    plan = whole_image(1, size, 1024)
    height, width = ResizeLongestSide.get_preprocess_shape(*size, 1024)
    assert plan.resized == (max(height, 1), width)  # SAM stops at a height of 0
    corner = torch.tensor([[[float(size[1]), float(size[0])]]])
    assert points_to_crop(corner, plan.regions, 1024).tolist() == [[[width, max(height, 1)]]]


@pytest.mark.parametrize("magnification", [0.5, 0.8])
@pytest.mark.parametrize("seed", range(5))
def test_every_object_is_whole_in_its_region_and_large_enough(magnification, seed):
    boxes = marina(150, seed)
    plan = shared_crops(boxes, magnification)
    own = CropSchedule().sizes(boxes)
    mine = plan.regions[plan.index]
    side = mine[:, 2] - mine[:, 0]
    torch.testing.assert_close(side, mine[:, 3] - mine[:, 1])
    assert (side >= own * 0.9999).all() and (side <= own / magnification * 1.0001).all()
    assert (boxes[:, :2] >= mine[:, :2]).all() and (boxes[:, 2:] <= mine[:, 2:]).all()
    assert sorted(set(plan.index.tolist())) == list(range(len(plan.regions)))
    assert len(plan.regions) < 0.7 * len(boxes)


def test_more_tolerance_needs_fewer_regions():
    boxes = marina(200)
    counts = [len(shared_crops(boxes, m).regions) for m in (0.9, 0.7, 0.5)]
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.real_data
def test_a_real_marina_needs_two_and_a_half_times_fewer(real_data):
    corners = torch.from_numpy(read_dota(real_data / "dota_obb" / "labelTxt" / "P0706.txt").corners).float()
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    assert len(boxes) == 536
    assert len(shared_crops(boxes, 0.8).regions) <= 536 / 2.5


def test_objects_without_company_keep_their_own_regions():
    boxes = torch.tensor([[0.0, 0, 30, 30], [500, 0, 530, 30], [0, 500, 200, 700]])
    plan = shared_crops(boxes, 0.5)
    torch.testing.assert_close(plan.regions[plan.index], crop_regions(boxes))


def test_two_neighbours_share_and_a_larger_one_does_not():
    boxes = torch.tensor([[10.0, 10, 40, 40], [45, 10, 75, 40], [0, 0, 120, 120]])
    plan = shared_crops(boxes, 0.6)
    assert plan.index[0] == plan.index[1] != plan.index[2] and len(plan.regions) == 2


def test_no_boxes_and_objects_beyond_the_largest_region():
    assert shared_crops(torch.zeros(0, 4), 0.5).regions.shape == (0, 4)
    huge = torch.tensor([[0.0, 0, 5000, 4000], [10, 10, 5010, 3000]])
    plan = shared_crops(huge, 0.5)
    mine = plan.regions[plan.index]
    assert (huge[:, :2] >= mine[:, :2]).all() and (huge[:, 2:] <= mine[:, 2:]).all()


@pytest.mark.parametrize("magnification", [0.0, 1.0, float("nan")])
def test_a_senseless_magnification_is_refused(magnification):
    with pytest.raises(ValueError, match="magnification: expected a fraction between 0 and 1"):
        shared_crops(marina(3), magnification)


def test_training_crops_are_the_papers_where_nothing_is_shared():
    boxes = marina(40)
    plan = training_crops(boxes, generator=torch.Generator().manual_seed(3))
    positions = random_positions(40, torch.Generator().manual_seed(3))
    assert torch.equal(plan.regions, crop_regions(boxes, positions=positions))
    assert plan.index.tolist() == list(range(40))


def test_every_other_training_crop_is_such_as_objects_share():
    boxes, shared = marina(2000), 0.8
    alone = training_crops(boxes, generator=torch.Generator().manual_seed(3)).regions
    regions = training_crops(boxes, shared, torch.Generator().manual_seed(3)).regions
    changed = (regions != alone).any(1)
    assert 900 < changed.sum() < 1100
    own, sides = CropSchedule().sizes(boxes), regions[:, 2:] - regions[:, :2]
    torch.testing.assert_close(sides[:, 0], sides[:, 1], rtol=1e-4, atol=0)
    ratio = (sides[:, 0] / own)[changed]
    assert ratio.min() > 0.9999 and ratio.max() < 1.2501 and abs(ratio.mean() - 1.125) < 0.01
    before, after = boxes[:, :2] - regions[:, :2], regions[:, 2:] - boxes[:, 2:]
    margin = torch.minimum(before, after)[changed] / (boxes[:, 2:] - boxes[:, :2]).amax(1)[changed, None]
    assert margin.min() > 0.0999  # of context: a tenth of the longest side, as small objects have in shared crops
    place = (before / (before + after))[changed]
    assert place.min() < 0.1 and place.max() > 0.9  # the paper's positions are 0.3 to 0.7


def test_foreground_points_widen_the_crop_and_others_do_not():
    boxes = torch.tensor([[10.0, 10, 30, 30]]).repeat(4, 1)
    points = torch.tensor([[[20.0, 20.0], [70.0, 25.0]]]).repeat(4, 1, 1)
    labels = torch.tensor([[1, 0], [1, 1], [0, -1], [-1, 1]])
    plan = plan_crops(Prompts(boxes, points, labels), (100, 100), 64)
    wide = torch.tensor([[10.0, 10, 70, 30]])
    expected = torch.cat([boxes[:1], wide, boxes[:1], wide])
    assert torch.equal(plan.regions, crop_regions(expected))
    shared = plan_crops(Prompts(boxes, points, labels), (100, 100), 64, shared=0.5)
    assert torch.equal(shared.regions, shared_crops(expected, 0.5).regions)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_the_points_of_oriented_boxes_change_no_crop(shared):
    generator = torch.Generator().manual_seed(2)
    rows = torch.cat([100 * torch.rand(50, 2, generator=generator), 1 + 50 * torch.rand(50, 3, generator=generator)], 1)
    prompts = oriented_prompts(oriented_corners(rows))
    plan = plan_crops(prompts, (100, 100), 64, shared=shared)
    alone = plan_crops(Prompts(prompts.boxes), (100, 100), 64, shared=shared)
    assert torch.equal(plan.regions, alone.regions) and torch.equal(plan.index, alone.index)
    ((index, same, _),) = split_off_unseen_points(prompts, plan)
    assert same is prompts and index.tolist() == list(range(50))


def test_background_points_outside_the_crop_are_left_out():
    boxes = torch.tensor([[40.0, 40, 60, 60], [0.0, 0, 20, 20], [40.0, 40, 60, 60], [5.0, 5, 25, 25]])
    near, far, edge = [50.0, 41.0], [95.0, 95.0], [30.0, 70.0]  # the region of the first box is 30 to 70
    points = torch.tensor([[near, far, edge], [far, far, far], [near, near, edge], [far, near, far]])
    labels = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 1, -1], [0, -1, 0]])
    prompts = Prompts(boxes, points, labels)
    plan = plan_crops(prompts, (100, 100), 64)
    groups = {tuple(rows.tolist()): (part, of_part) for rows, part, of_part in split_off_unseen_points(prompts, plan)}
    assert set(groups) == {(0,), (1,), (2,), (3,)}
    for rows, (part, of_part) in groups.items():
        assert torch.equal(part.boxes, boxes[list(rows)])
        assert torch.equal(of_part.regions[of_part.index], plan.regions[list(rows)])
    kept = {rows[0]: (part.points, part.labels) for rows, (part, _) in groups.items()}
    assert kept[1] == (None, None)
    assert kept[0][0].tolist() == [[near, edge]] and kept[0][1].tolist() == [[1, 0]]
    assert kept[2][0].tolist() == [[near, near, edge]] and kept[3][1].tolist() == [[-1]]


def test_points_alone_are_seen_by_the_whole_image():
    corner = Prompts(points=torch.tensor([[[100.0, 90.0]]]), labels=torch.tensor([[0]]))
    assert len(split_off_unseen_points(corner, plan_crops(corner, (90, 100), 64))) == 1
    boxed = corner._replace(boxes=torch.tensor([[0.0, 0, 5, 5]]))
    ((_, same, _),) = split_off_unseen_points(boxed, plan_crops(boxed, (90, 100), 64, magnify=False))
    assert same is boxed
