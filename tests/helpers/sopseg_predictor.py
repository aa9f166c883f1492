"""A tiny SOPSegPredictor, an image and boxes for it."""

import numpy as np

from helpers.tiny_sopseg import small_sopseg
from insight import SOPSegPredictor

SIZE = 64  # of the crops
IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
BOXES = [[20.0, 30, 36, 40], [70, 50, 80, 66], [-4, 10, 12, 20]]  # longest side 16: regions of 32 pixels


def small_predictor():
    """A tiny SOPSeg with random weights, for crops of SIZE pixels."""
    # Its decoder is SAM's, which would have horizontal boxes for oriented ones.
    return SOPSegPredictor(small_sopseg(), input_size=SIZE, prompt="oriented_box")


CLICKS = {"points": [[[30.0, 40]], [[80, 60]]], "labels": [[1], [1]]}


def assert_equal(found, other):
    assert found.masks.codes == other.masks.codes and found.scores.equal(other.scores)
    assert found.boxes.equal(other.boxes) and len(found.masks)
