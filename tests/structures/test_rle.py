import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from insight.structures.rle import RLEMasks, decode_crop, encode_crop


def reference(bitmap):
    return coco_mask.encode(np.asfortranarray(bitmap.astype(np.uint8)))


@st.composite
def windows(draw):
    """A mask in a window, the window's origin, and the image's size."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    shape = (draw(st.integers(1, height - y0)), draw(st.integers(1, width - x0)))
    return draw(arrays(bool, shape)), (x0, y0), (height, width)


@given(windows())
def test_code_of_a_window_is_pycocotools_code_of_the_whole_bitmap(case):
    crop, (x0, y0), image_size = case
    bitmap = np.zeros(image_size, bool)
    bitmap[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] = crop
    assert encode_crop(crop, (x0, y0), image_size) == reference(bitmap)


@given(windows(), st.booleans(), st.data())
def test_a_window_of_a_code_is_that_of_pycocotools_bitmap(case, as_text, data):
    crop, origin, (height, width) = case
    code = encode_crop(crop, origin, (height, width))
    x0, y0 = data.draw(st.integers(0, width)), data.draw(st.integers(0, height))
    x1, y1 = data.draw(st.integers(x0, width)), data.draw(st.integers(y0, height))
    given_code = {**code, "counts": code["counts"].decode()} if as_text else code
    assert np.array_equal(decode_crop(given_code, (x0, y0, x1, y1)), coco_mask.decode(code)[y0:y1, x0:x1] > 0)


def test_long_runs_and_many_runs_are_decoded():
    rng = np.random.default_rng(0)
    noise = rng.random((300, 200)) > 0.5  # numbers of one character, many of them negative
    sparse = rng.random((3000, 2000)) > 0.99999  # numbers of up to five characters
    for bitmap in (noise, sparse):
        height, width = bitmap.shape
        assert np.array_equal(decode_crop(reference(bitmap), (0, 0, width, height)), bitmap)


@pytest.mark.parametrize("fill", [True, False])
def test_a_mask_over_all_or_nothing_of_the_image(fill):
    bitmap = np.full((5, 7), fill)
    assert encode_crop(bitmap, (0, 0), (5, 7)) == reference(bitmap)


def test_masks_index_like_the_tensor_of_their_bitmaps():
    bitmaps = torch.rand(5, 6, 8, generator=torch.Generator().manual_seed(0)) > 0.5
    masks = RLEMasks([reference(b.numpy()) for b in bitmaps], (6, 8))
    assert len(masks) == 5 and masks.to_bitmaps().equal(bitmaps)
    assert masks.areas().tolist() == bitmaps.sum(dim=(1, 2)).tolist()
    keep = torch.tensor([True, False, False, True, True])
    for item in (keep, torch.tensor([4, 0]), slice(1, 4), [2, 2]):
        assert masks[item].to_bitmaps().equal(bitmaps[item])
    assert masks[3] == masks.codes[3]
    assert RLEMasks.cat([masks[:2], masks[2:]]).to_bitmaps().equal(bitmaps)


def test_no_masks():
    masks = RLEMasks([], (6, 8))
    assert masks.to_bitmaps().shape == (0, 6, 8) and masks.areas().shape == (0,)


def test_masks_are_a_field_of_detectron2s_instances():
    instances_class = pytest.importorskip("detectron2.structures").Instances
    bitmaps = torch.eye(3).reshape(3, 3, 1).bool()
    instances = instances_class((3, 1), scores=torch.tensor([0.1, 0.9, 0.5]))
    instances.pred_masks = RLEMasks([reference(b.numpy()) for b in bitmaps], (3, 1))
    kept = instances_class.cat([instances[instances.scores > 0.3], instances[0]])
    assert kept.pred_masks.to_bitmaps().equal(bitmaps[[1, 2, 0]])
