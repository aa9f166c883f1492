"""Context scenes: the pixels of a box do not tell the two of a pair apart, their surroundings do."""

from collections import Counter

import numpy as np
import pytest

from insight.data.scenes.context import CONTEXT_CATEGORIES, draw_context_scene
from insight.errors import InputError


def test_a_seed_gives_one_scene():
    first, again, other = draw_context_scene(3), draw_context_scene(3), draw_context_scene(4)
    assert np.array_equal(first.image, again.image) and not np.array_equal(first.image, other.image)
    assert [x.box for x in first.instances] == [x.box for x in again.instances]
    assert first.image.shape == (320, 320, 3) and first.image.dtype == np.uint8


@pytest.fixture(scope="module")
def objects():
    """(category, mean colour of the ground inside the box, mean colour of a ring around the pad) of many objects."""
    found = []
    for seed in range(40):
        scene = draw_context_scene(seed)
        for instance in scene.instances:
            x, y, w, h = instance.box
            if min(x, y) < 24 or x + w > 296 or y + h > 296:
                continue  # cut off, or too near the border for the ring
            inside = scene.image[y : y + h, x : x + w]
            ground = inside[~instance.mask]
            reach = scene.image[y - 20 : y + h + 20, x - 20 : x + w + 20].astype(float)
            inner = np.ones(reach.shape[:2], bool)
            inner[8:-8, 8:-8] = False
            found.append((instance.category, ground.mean(axis=0), reach[inner].mean(axis=0)))
    return found


def test_all_categories_are_drawn(objects):
    counts = Counter(category for category, *_ in objects)
    assert set(counts) == set(CONTEXT_CATEGORIES) and min(counts.values()) > 20


@pytest.mark.parametrize("pair", [CONTEXT_CATEGORIES[:2], CONTEXT_CATEGORIES[2:]])
def test_the_ground_in_a_box_is_that_of_its_pair(objects, pair):
    def spread(which):
        """The difference between the means of the two, in standard deviations within one."""
        values = [np.stack([row[which] for row in objects if row[0] == category]) for category in pair]
        return np.abs(values[0].mean(0) - values[1].mean(0)).max() / np.mean([v.std(0).mean() for v in values])

    assert spread(1) < 0.6 and spread(2) > spread(1) + 0.2


@pytest.mark.parametrize("seed, size, message", [(-1, (320, 320), "seed: expected"), (0, (64, 320), "at least 128")])
def test_values_out_of_range_are_named(seed, size, message):
    with pytest.raises(InputError, match=message):
        draw_context_scene(seed, size)
