"""Run-length codes of masks known in a window or as logits of a crop, against pycocotools and whole bitmaps."""

import json
import os
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import torch
from harness import peak_memory
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from insight.errors import InputError
from insight.structures import _rle_ext, rle_reference
from insight.structures.crop_masks import logits_to_image, masks_to_crops, paste_windows
from insight.structures.crop_regions import crop_regions
from insight.structures.rle import RLEMasks, decode_crop, encode_crop, encode_logits, run_lengths

not_built = pytest.mark.skipif(_rle_ext.COMPILED is None, reason="the compiled run-length coder is not built")
CODERS = [pytest.param(_rle_ext.COMPILED, marks=not_built, id="compiled"), pytest.param(rle_reference, id="fallback")]


def using(coder):
    """Makes encode_crop and encode_logits use one of the coders."""
    return mock.patch.object(_rle_ext, "coder", lambda: coder)


def reference(bitmap):
    return coco_mask.encode(np.asfortranarray(bitmap.astype(np.uint8)))


@st.composite
def windows(draw):
    """A mask in a window, the window's origin, and the image's size."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    shape = (draw(st.integers(1, height - y0)), draw(st.integers(1, width - x0)))
    return draw(arrays(bool, shape)), (x0, y0), (height, width)


@pytest.mark.parametrize("coder", CODERS)
@settings(deadline=None)
@given(windows())
def test_code_of_a_window_is_pycocotools_code_of_the_whole_bitmap(coder, case):
    crop, (x0, y0), image_size = case
    bitmap = np.zeros(image_size, bool)
    bitmap[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] = crop
    with using(coder):
        assert encode_crop(crop, (x0, y0), image_size) == reference(bitmap)


@settings(deadline=None)
@given(windows(), st.booleans(), st.data())
def test_a_window_of_a_code_is_that_of_pycocotools_bitmap(case, as_text, data):
    crop, origin, (height, width) = case
    code = encode_crop(crop, origin, (height, width))
    x0, y0 = data.draw(st.integers(0, width)), data.draw(st.integers(0, height))
    x1, y1 = data.draw(st.integers(x0, width)), data.draw(st.integers(y0, height))
    given_code = {**code, "counts": code["counts"].decode()} if as_text else code
    assert np.array_equal(decode_crop(given_code, (x0, y0, x1, y1)), coco_mask.decode(code)[y0:y1, x0:x1] > 0)


@pytest.mark.parametrize("counts", ["", "o", "\u20ac", "a b", b"\xff"])
def test_a_string_that_holds_no_runs_is_told(counts):
    with pytest.raises(ValueError, match="counts: expected COCO's compressed run lengths, got "):
        run_lengths(counts)


def test_long_runs_and_many_runs_are_decoded():
    rng = np.random.default_rng(0)
    noise = rng.random((300, 200)) > 0.5  # numbers of one character, many of them negative
    sparse = rng.random((3000, 2000)) > 0.99999  # numbers of up to five characters
    for bitmap in (noise, sparse):
        height, width = bitmap.shape
        assert np.array_equal(decode_crop(reference(bitmap), (0, 0, width, height)), bitmap)


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("fill", [True, False])
def test_a_mask_over_all_or_nothing_of_the_image(coder, fill):
    bitmap = np.full((5, 7), fill)
    with using(coder):
        assert encode_crop(bitmap, (0, 0), (5, 7)) == reference(bitmap)


@pytest.mark.parametrize("coder", CODERS)
def test_windows_of_any_layout_and_without_pixels(coder):
    bitmap = np.random.default_rng(0).random((40, 60)) > 0.4
    with using(coder):
        for crop in (bitmap.T, bitmap[::2, ::3], bitmap[::-1], np.broadcast_to(bitmap[:, :1], (40, 5))):
            assert encode_crop(crop, (0, 0), crop.shape) == reference(crop)
        for shape in ((0, 3), (3, 0), (0, 0)):
            assert encode_crop(np.zeros(shape, bool), (2, 2), (5, 7)) == reference(np.zeros((5, 7)))


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("steps", [(1, 1), (3, 7), (40_000, 1), (1_000, 30)])
def test_runs_of_every_length_in_an_image_too_large_for_a_bitmap(coder, steps):
    """Counts of up to 2^32 - 1 and their differences, small and large, of both signs."""
    height, width = 65_536, 65_535
    rows, columns = (40_001, 31) if steps[0] > 1 else (5, 9)
    crop = np.zeros((rows, columns), bool)
    crop[:: steps[0], :: steps[1]] = True
    origin = (width - columns, height - rows - 1)
    x, y = np.nonzero(crop.T)
    places = np.sort((origin[0] + x) * height + origin[1] + y)
    first = places[np.diff(places, prepend=-2) > 1]
    last = places[np.diff(places, append=2**33) > 1] + 1
    counts = np.diff(np.stack([first, last], 1).ravel(), prepend=0, append=height * width).tolist()
    with using(coder):
        code = encode_crop(crop, origin, (height, width))
    assert code == coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    assert coco_mask.area(code) == crop.sum()


def bilinear(logits, region, image_size):
    """Logits at every pixel of the image, -inf outside the region: float64, NumPy's interpolation along each axis."""
    (height, width), (x1, y1, x2, y2) = image_size, region
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    field = np.full(image_size, -np.inf)
    inside_x, inside_y = (x >= x1) & (x <= x2) & (x1 < x2), (y >= y1) & (y <= y2) & (y1 < y2)
    if not inside_x.any() or not inside_y.any():
        return field
    crop_x = (x[inside_x] - x1) / (x2 - x1) * logits.shape[1] - 0.5
    crop_y = (y[inside_y] - y1) / (y2 - y1) * logits.shape[0] - 0.5
    rows = np.stack([np.interp(crop_x, np.arange(logits.shape[1]), row) for row in logits.astype(np.float64)])
    inside = np.stack([np.interp(crop_y, np.arange(logits.shape[0]), column) for column in rows.T], 1)
    field[np.ix_(inside_y, inside_x)] = inside
    return field


def assert_codes_are_of(masks, fields, threshold=0.0):
    """The codes are pycocotools' of the fields above the threshold, but for pixels within rounding of it."""
    found = masks.to_bitmaps().numpy()
    clear = np.abs(fields - threshold) > 1e-4 * np.abs(fields[np.isfinite(fields)]).max(initial=1)
    assert np.array_equal(found[clear], (fields > threshold)[clear])
    assert masks.codes == [reference(bitmap) for bitmap in found]


# Around an image of 50 x 70: inside, across its border, wholly outside, much larger than it, and thinner than a pixel.
coordinates = st.one_of(
    st.floats(-30, 100), st.integers(-20, 90).map(float), st.floats(-1e6, 1e6), st.sampled_from([-1e6, 0.0, 1e6])
)
sides = st.one_of(st.floats(0, 80), st.integers(0, 80).map(float), st.floats(0, 1e-3), st.floats(0, 2e6))


@pytest.mark.parametrize("coder", CODERS)
@settings(deadline=None)
@given(
    st.lists(st.tuples(coordinates, coordinates, sides, sides), max_size=4),
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(-1, 1),
    st.integers(0, 2**31),
)
def test_logits_of_any_region_become_the_code_of_the_pasted_mask(coder, places, height, width, threshold, seed):
    logits = torch.randn(len(places), height, width, generator=torch.Generator().manual_seed(seed))
    regions = torch.tensor(places, dtype=torch.float64).reshape(-1, 4)
    regions[:, 2:] += regions[:, :2]
    with using(coder):
        masks = encode_logits(logits, regions, (50, 70), threshold)
    assert len(masks) == len(places) and masks.image_size == (50, 70)
    fields = [bilinear(values, region, (50, 70)) for values, region in zip(logits.numpy(), regions.tolist())]
    assert_codes_are_of(masks, np.array(fields).reshape(-1, 50, 70), threshold)


@pytest.mark.parametrize("coder", CODERS)
def test_logits_become_the_masks_of_logits_to_image(coder):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(60, 2, generator=generator) * 260 - 40
    boxes = torch.cat([corners, corners + torch.rand(60, 2, generator=generator) * 90 + 1], 1)
    regions = crop_regions(boxes)
    logits = torch.randn(60, 64, 64, generator=generator)
    windows = logits_to_image(logits, regions)
    fields = torch.full((60, 200, 220), float("-inf"))
    for field, window, (x, y) in zip(fields, windows.logits, windows.corners.tolist()):
        left, top = max(x, 0), max(y, 0)
        part = window[top - y : 200 - y, left - x : 220 - x]
        field[top : top + part.shape[0], left : left + part.shape[1]] = part
    assert torch.equal(fields > 0, paste_windows(windows, (200, 220)) > 0)
    with using(coder):
        assert_codes_are_of(encode_logits(logits, regions, (200, 220)), fields.numpy())


@not_built
def test_compiled_coder_and_fallback_give_the_same_bytes():
    """Also for pixels at the threshold: both round alike."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(80, 2, generator=generator) * 300 - 60
    regions = torch.cat([corners, corners + torch.rand(80, 2, generator=generator) ** 3 * 300], 1)
    logits = torch.randint(-2, 3, (80, 31, 17), generator=generator).float()
    codes = []
    for coder in (_rle_ext.COMPILED, rle_reference):
        with using(coder):
            codes.append(encode_logits(logits, regions, (200, 220)).codes)
    assert codes[0] == codes[1]


@pytest.mark.parametrize("coder", CODERS)
def test_far_from_the_origin_nothing_is_lost(coder):
    """Where float32 coordinates of pixel centres have steps of 1 / 16."""
    logits = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(2))
    near = torch.tensor([[0.25, 0.5, 16.25, 16.5]])
    shift = 1_000_000
    with using(coder):
        bitmap = encode_logits(logits, near, (20, 30)).to_bitmaps()[0].numpy()
        code = encode_logits(logits, near + torch.tensor([shift, 0, shift, 0]), (20, shift + 30)).codes[0]
        assert code == encode_crop(bitmap, (shift, 0), (20, shift + 30))


@pytest.mark.parametrize("coder", CODERS)
def test_logits_of_any_type_and_layout(coder):
    logits = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(3)).bfloat16()
    regions = torch.tensor([[1.5, 2.0, 21.5, 22.0]]).expand(3, 4)
    with using(coder):
        codes = encode_logits(logits.float(), regions, (30, 30)).codes
        assert encode_logits(logits, regions, (30, 30)).codes == codes
        assert encode_logits(logits.double().requires_grad_(), regions.double(), (30, 30)).codes == codes
        assert encode_logits(logits.mT.contiguous().mT, regions, (30, 30)).codes == codes
        nothing = [reference(np.zeros((30, 30)))] * 3
        assert encode_logits(torch.full_like(logits, float("nan")), regions, (30, 30)).codes == nothing
        assert encode_logits(logits, regions, (30, 30), float("inf")).codes == nothing


@not_built
def test_no_bitmap_of_the_image_is_made():
    size = 60_000  # a bitmap would take 3.4 GiB
    regions = torch.tensor([[100.0, 200.0, 164.0, 264.0], [-10.0, 100.0, 54.0, 59_000.0]])
    logits = torch.ones(2, 64, 64)
    memory = peak_memory(lambda: encode_logits(logits, regions, (size, size)) and None, torch.device("cpu"))
    if memory is None:
        pytest.skip("this system does not tell the peak of memory")
    assert memory < 16 * 2**20


@pytest.mark.real_data
@pytest.mark.parametrize("coder", CODERS)
def test_masks_of_real_objects_go_to_crops_and_come_back(coder, real_data):
    folder = real_data / "isaid_tiles" / "val"
    annotations = json.loads(next(folder.parent.rglob("instances_val.json")).read_text())["annotations"][:60]
    codes = [coco_mask.merge(coco_mask.frPyObjects(a["segmentation"], 512, 512)) for a in annotations]
    bitmaps = torch.from_numpy(coco_mask.decode(codes)).permute(2, 0, 1).bool()
    boxes = torch.from_numpy(coco_mask.toBbox(codes)).float()
    regions = crop_regions(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
    logits = masks_to_crops(bitmaps, regions, 256).float() - 0.5
    with using(coder):
        masks = encode_logits(logits, regions, (512, 512))
    fields = [bilinear(values, region, (512, 512)) for values, region in zip(logits.numpy(), regions.tolist())]
    assert_codes_are_of(masks, np.array(fields))
    assert torch.tensor(coco_mask.iou(masks.codes, codes, [0] * len(codes)).diagonal().copy()).min() > 0.95


ONE = torch.zeros(1, 4, 4)
UNIT = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((ONE[0], UNIT, (5, 5)), InputError, r"logits: expected shape \(N, h, w\) with h, w > 0, got \(4, 4\)"),
        ((ONE[:, :0], UNIT, (5, 5)), InputError, r"logits: expected shape .*, got \(1, 0, 4\)"),
        ((ONE.long(), UNIT, (5, 5)), InputError, r"logits: expected a floating-point tensor .*, got torch.int64"),
        ((ONE.numpy(), UNIT, (5, 5)), InputError, r"logits: expected a floating-point tensor .*, got float32"),
        ((ONE, UNIT.repeat(2, 1), (5, 5)), InputError, r"regions: expected shape \(1, 4\), one per crop, got \(2, 4\)"),
        ((ONE, UNIT.tolist(), (5, 5)), InputError, r"regions: expected a floating-point tensor \(N, 4\), got list"),
        (
            (ONE, UNIT * float("nan"), (5, 5)),
            InputError,
            r"regions: expected finite values .* got \[nan, .* at index 0",
        ),
        ((ONE, UNIT / 0, (5, 5)), InputError, "regions: expected finite values"),
        ((ONE, -UNIT, (5, 5)), InputError, r"x1 <= x2 and y1 <= y2, got \[-0.0, -0.0, -1.0, -1.0\] at index 0"),
        ((ONE, UNIT, (0, 5)), InputError, r"image_size: expected \(height, width\) in positive pixels.* got \(0, 5\)"),
        ((ONE, UNIT, (5, -1)), InputError, r"image_size: .* got \(5, -1\)"),
        ((ONE, UNIT, (2**16, 2**16)), InputError, r"at most 4294967295 together, got \(65536, 65536\)"),
        ((ONE, UNIT, (5, 5), float("nan")), InputError, "threshold: expected a number, got NaN"),
    ],
)
def test_bad_logits_and_regions_are_named(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        encode_logits(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((np.zeros((2, 2)), (0, 0), (5, 5)), InputError, r"crop: expected an array \(h, w\) of bool, got float64"),
        (([[True]], (0, 0), (5, 5)), InputError, "crop: expected an array .* got list"),
        ((np.zeros(2, bool), (0, 0), (5, 5)), InputError, r"crop: expected shape \(h, w\), got \(2,\)"),
        (
            (np.zeros((2, 2), bool), (4, 0), (5, 5)),
            InputError,
            r"crop: expected a window inside .*\(5, 5\), got \(2, 2\) from .*\(4, 0\)",
        ),
        ((np.zeros((2, 2), bool), (0, -1), (5, 5)), InputError, r"\(x, y\) = \(0, -1\)"),
        ((np.zeros((2, 2), bool), (0, 0), (0, 5)), InputError, "image_size: expected"),
    ],
)
def test_bad_windows_are_named(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        encode_crop(*arguments)
    assert "\n" not in str(caught.value)


def test_without_the_compiled_coder_the_fallback_warns_once():
    program = """
import json, sys, warnings
sys.modules["insight._rle"] = sys.modules["detectron2"] = None
import numpy as np
from insight.structures.rle import encode_crop
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    codes = [encode_crop(np.eye(3, dtype=bool), (0, 0), (4, 4))["counts"].decode() for _ in range(2)]
said = [str(w.message) for w in caught if "run-length" in str(w.message)]
json.dump([codes, said], sys.stdout)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    codes, (warning,) = json.loads(done.stdout)
    bitmap = np.zeros((4, 4))
    bitmap[:3, :3] = np.eye(3)
    assert codes == [reference(bitmap)["counts"].decode()] * 2
    assert warning.startswith("insight: the run-length coder was not built for Python ")
    assert "run `pip install --no-build-isolation -e .`" in warning and "\n" not in warning
    assert warning.endswith("Using the slower NumPy fallback.")


def test_more_masks_than_a_byte_counts_have_areas():
    bitmaps = torch.rand(300, 6, 8, generator=torch.Generator().manual_seed(0)) > 0.5
    masks = RLEMasks([reference(b.numpy()) for b in bitmaps], (6, 8))
    assert masks.areas().tolist() == bitmaps.sum(dim=(1, 2)).tolist()
    assert masks.to_bitmaps().equal(bitmaps)


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


def test_masks_of_bitmaps_and_masks_replaced_by_others():
    first, second = torch.rand(2, 5, 6, 8, generator=torch.Generator().manual_seed(0)) > 0.5
    masks, where = RLEMasks.from_bitmaps(first), torch.tensor([True, False, True, False, True])
    assert masks.codes == [reference(b.numpy()) for b in first]
    replaced = masks.replace(where, RLEMasks.from_bitmaps(second[:3]))
    expected = first.clone()
    expected[where] = second[:3]
    assert replaced.to_bitmaps().equal(expected) and masks.to_bitmaps().equal(first)
    assert len(RLEMasks.from_bitmaps(first[:0])) == 0 and RLEMasks.from_bitmaps(first[:0]).image_size == (6, 8)
    with pytest.raises(ValueError):
        masks.replace(where, RLEMasks.from_bitmaps(second))


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
