"""Objects cut by the border of an image."""

import torch

from insight.data.mappers.cut_objects import LEAST, MOST, cut_object


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def test_a_border_runs_through_the_object_and_nothing_moves_against_it():
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[10:50, 20:40] = True  # 40 rows, 20 columns
    image = torch.stack([mask.float(), torch.arange(60 * 80).view(60, 80).float()])
    sides = set()
    for seed in range(40):
        cut, kept = cut_object(image, mask, drawn(seed))
        assert torch.equal(cut[0], kept.float())  # both are cut alike
        rows, columns = (int(kept.any(axis).sum()) for axis in (1, 0))
        side = ("top" if kept[0].any() else "bottom") if rows < 40 else ("left" if kept[:, 0].any() else "right")
        sides.add(side)
        assert kept.shape == ((cut.shape[1], 80) if rows < 40 else (60, cut.shape[2]))
        part = rows * columns / 800
        assert LEAST - 0.03 <= part <= MOST + 0.03
        edge = {"top": kept[0], "bottom": kept[-1], "left": kept[:, 0], "right": kept[:, -1]}[side]
        assert edge.sum() == (20 if rows < 40 else 40)  # the border of the image, along the whole object
        far = cut[1][-1, -1] if side in ("top", "left") else cut[1][0, 0]
        assert far == (60 * 80 - 1 if side in ("top", "left") else 0)  # the other side of the image stays
    assert sides == {"top", "bottom", "left", "right"}


def test_what_would_leave_next_to_nothing_is_not_cut():
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[5:7, 5:9] = True
    image = torch.rand(3, 20, 20)
    for seed in range(10):
        cut, kept = cut_object(image, mask, drawn(seed))
        assert torch.equal(cut, image) and torch.equal(kept, mask)
