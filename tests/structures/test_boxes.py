import numpy as np
import pytest
import torch

from insight.structures.boxes import jitter_boxes, touches_image, validate_boxes

IMAGE = (60, 100)  # height, width
GOOD = [10.0, 20.0, 30.0, 40.0]


@pytest.mark.parametrize(
    "boxes",
    [
        [GOOD],
        np.array([GOOD]),
        torch.tensor([GOOD], dtype=torch.float64),
        [[-5, -5, 3, 3]],  # leaves the image in part
        [[0, 0, 100, 60]],
        [[99.5, 59.5, 200, 200]],
        [[-10000, -10000, 10100, 10060]],  # a hundred times the longer side, on each
    ],
)
def test_good_boxes_are_kept_as_they_are(boxes):
    checked = validate_boxes(boxes, IMAGE)
    assert checked.dtype == torch.float32 and checked.shape == (1, 4)
    assert checked.tolist() == torch.as_tensor(boxes).tolist()


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 4)), torch.zeros(0, 4)])
def test_no_boxes_is_fine(nothing):
    assert validate_boxes(nothing, IMAGE).shape == (0, 4)


@pytest.mark.parametrize(
    "bad, reason",
    [
        ([float("nan"), 0, 1, 1], "not finite"),
        ([0, 0, float("inf"), 1], "not finite"),
        ([30, 20, 10, 40], "is inverted"),
        ([10, 40, 30, 20], "is inverted"),
        ([10, 20, 10, 40], "has no area"),
        ([10, 20, 30, 20], "has no area"),
        ([100, 0, 120, 20], "outside the image, which is 100 x 60"),
        ([0, -20, 20, 0], "outside the image"),
        ([-1e30, 0, 1e30, 40], "reaches farther than 10000 pixels beyond the image, which is 100 x 60"),
        ([-10001, 0, 40, 40], "reaches farther"),
        ([0, -10001, 40, 40], "reaches farther"),
        ([0, 0, 10101, 40], "reaches farther"),
        ([0, 0, 40, 10061], "reaches farther"),
    ],
)
def test_a_bad_box_is_named_with_its_index_and_value(bad, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        validate_boxes([GOOD, bad, GOOD], IMAGE, name="--boxes")
    assert str(caught.value).startswith("--boxes[1] = [")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [[1, 2, 3], [[1, 2, 3]], "text", [["a", "b", "c", "d"]], [[1, 2], [3, 4, 5, 6]], None]
)
def test_a_wrong_shape_says_what_is_expected(wrong):
    with pytest.raises(ValueError, match=r"boxes: expected .*\(N, 4\)"):
        validate_boxes(wrong, IMAGE)


def test_jittered_edges_move_by_at_most_the_fraction_of_their_side():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2000, 2, generator=generator) * 300
    given = torch.cat([corner, corner + 5 + torch.rand(2000, 2, generator=generator) * 45], dim=1)
    moved = jitter_boxes(given, 0.2, generator)
    sides = (given[:, 2:] - given[:, :2]).repeat(1, 2)
    shift = (moved - given) / sides
    assert shift.abs().max() <= 0.2 + 1e-5
    assert shift.abs().max() > 0.19
    torch.testing.assert_close(shift.std(dim=0), torch.full((4,), 0.2 / 3**0.5), rtol=0.1, atol=0)  # uniform
    assert torch.corrcoef(shift.T).fill_diagonal_(0).abs().max() < 0.1  # each edge by itself


def test_a_box_touches_an_image_where_validate_boxes_takes_it():
    """On a grid of boxes around the image's edges."""
    for x in (-20, -10, -9, 0, 50, 99, 100, 101):
        for y in (-20, -10, -9, 0, 30, 59, 60, 61):
            box = [x, y, x + 10, y + 10]
            try:
                validate_boxes([box], IMAGE)
            except ValueError:
                assert not touches_image(box, IMAGE)
            else:
                assert touches_image(box, IMAGE)
