"""Where patches lie."""

import numpy as np
import pytest

from insight.data.preparation.patches import patch_windows


def test_windows_of_known_images():
    # By hand, from the development kit's rule: steps of 600, windows that leave the image shifted inwards.
    assert patch_windows(977, 884) == [(0, 800, 0, 800), (0, 800, 84, 884), (177, 977, 0, 800), (177, 977, 84, 884)]
    assert [w[2:] for w in patch_windows(801, 2000)[:3]] == [(0, 800), (600, 1400), (1200, 2000)]
    assert (
        len(patch_windows(801, 2000)) == 6
        and len(patch_windows(1400, 1400)) == 4
        and len(patch_windows(1401, 801)) == 6
    )
    for whole in ((800, 5000), (5000, 800), (300, 200)):
        assert patch_windows(*whole) == [(0, whole[0], 0, whole[1])]


@pytest.mark.parametrize(("size", "overlap"), [(800, 200), (512, 0), (64, 63)])
def test_every_pixel_is_in_a_window_of_full_size(size, overlap):
    rng = np.random.default_rng(0)
    for height, width in rng.integers(size + 1, size + 200, (3, 2)).tolist():
        seen = np.zeros((height, width), bool)
        windows = patch_windows(height, width, size, overlap)
        for y0, y1, x0, x1 in windows:
            assert (y1 - y0, x1 - x0) == (size, size) and min(y0, x0) >= 0 and y1 <= height and x1 <= width
            seen[y0:y1, x0:x1] = True
        assert seen.all() and len(set(windows)) == len(windows)
