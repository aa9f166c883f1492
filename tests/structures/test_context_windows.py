"""Windows as context: against a search over all windows of a scene."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from insight.structures.context_windows import ContextWindows


def window_of(size, origin, centre, side=512):
    """XYXY in the scene of the window of a box with this centre in the scene, by the sentences of the docstring."""
    answer = []
    for length, low, place in zip(size[::-1], origin, centre):
        starts = [start for start in range(0, low + length, side // 2) if start + side > low]
        shown = {start: (max(start, low), min(start + side, low + length)) for start in starts}
        shown = {start: (a, b) for start, (a, b) in shown.items() if b - a > side // 2} or {low: (low, low + length)}
        answer.append(shown[min(shown, key=lambda start: abs(start + side / 2 - place))])
    (x0, x1), (y0, y1) = answer
    return x0, y0, x1, y1


def located(size, origin, centres):
    """XYXY in the scene of the window of each box, and the boxes of 8 pixels as fractions of it."""
    windows = ContextWindows(size, 512, origin)
    height, width = size
    boxes = torch.tensor([[x - 4, y - 4, x + 4, y + 4] for x, y in centres]) - torch.tensor([*origin, *origin])
    index, fractions = windows.locate(boxes / torch.tensor([width, height, width, height]))
    x, y = origin
    chosen = [list(windows)[i] for i in index.tolist()]
    return [(x0 + x, y0 + y, x1 + x, y1 + y) for x0, y0, x1, y1 in chosen], fractions


SIDES, ORIGINS = st.integers(1, 1500), st.tuples(*[st.integers(0, 30).map(lambda n: 64 * n)] * 2)
PLACES = st.lists(st.tuples(*[st.integers(0, 99)] * 2), min_size=1, max_size=5)


@given(SIDES, SIDES, ORIGINS, PLACES)
def test_each_box_has_the_nearest_window_of_which_the_tile_shows_more_than_half(height, width, origin, places):
    centres = [(origin[0] + x * width // 100 + 0.5, origin[1] + y * height // 100 + 0.5) for x, y in places]
    windows, fractions = located((height, width), origin, centres)
    assert windows == [window_of((height, width), origin, centre) for centre in centres]
    for (x, y), (x0, y0, x1, y1), box in zip(centres, windows, fractions.tolist()):
        assert x0 <= x <= x1 and y0 <= y <= y1
        back = [box[0] * (x1 - x0), box[1] * (y1 - y0), box[2] * (x1 - x0), box[3] * (y1 - y0)]
        assert back == pytest.approx([x - 4 - x0, y - 4 - y0, x + 4 - x0, y + 4 - y0], abs=0.01)


def test_a_whole_image_is_one_window_of_whatever_size():
    boxes = torch.rand(3, 4)
    for size in ((20, 3000), (3000, 20)):
        windows = ContextWindows(size, 512)
        assert list(windows) == [(0, 0, size[1], size[0])]
        index, fractions = windows.locate(boxes)
        assert index.tolist() == [0, 0, 0] and fractions is boxes
