"""From the image to crops and back, to a fraction of a pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.ops import crop_resize
from insight.structures.crop_masks import ImageWindows, logits_to_image, masks_to_crops, paste_windows
from insight.structures.crop_regions import crop_regions


def disc(x, y, centre, radius):
    """Signed distance to a circle, positive inside."""
    return radius - np.hypot(x - centre[0], y - centre[1])


def disc_logits(region, size, centre, radius):
    """The distance in image pixels, at the centres of the crop's pixels."""
    x1, y1, x2, y2 = region
    x = x1 + (np.arange(size) + 0.5) * (x2 - x1) / size
    y = y1 + (np.arange(size) + 0.5) * (y2 - y1) / size
    return disc(x[None, :], y[:, None], centre, radius)


@pytest.mark.parametrize("radius, size", [(3.7, 256), (11.3, 256), (60.0, 128), (150.0, 256)])
def test_shapes_land_where_they_were_to_a_tenth_of_a_pixel(radius, size):
    centre = (400.37, 300.81)
    box = torch.tensor([[centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius]])
    regions = crop_regions(box, positions=torch.tensor([[0.3, 0.6]]))
    logits = torch.tensor(disc_logits(regions[0].double().tolist(), size, centre, radius))[None]
    windows = logits_to_image(logits, regions)
    left, top = windows.corners[0].tolist()
    height, width = windows.logits.shape[1:]
    x, y = np.arange(left, left + width) + 0.5, np.arange(top, top + height) + 0.5
    true = disc(x[None, :], y[:, None], centre, radius)
    found = windows.logits[0].double().numpy()
    near_edge = (np.abs(true) < 2) & np.isfinite(found)
    assert near_edge.sum() > 20
    assert np.abs(found - true)[near_edge].max() < 0.1


@settings(deadline=None)
@given(st.floats(-30, 90), st.floats(-30, 60), st.floats(8, 70))
def test_an_image_comes_back(x, y, side):
    """Ramps are kept exactly by bilinear resampling, so a crop and its way back must return them."""
    ramp = torch.stack([torch.arange(100.0).expand(80, 100), torch.arange(80.0)[:, None].expand(80, 100)])
    region = torch.tensor([[x, y, x + side, y + side]])
    crop = crop_resize(ramp[None], region, 128, pad_value=-1000.0)[0]
    windows = logits_to_image(crop, region.expand(2, 4))
    left, top = windows.corners[0].tolist()
    px = left + torch.arange(windows.logits.shape[2])[None, :]
    py = top + torch.arange(windows.logits.shape[1])[:, None]
    # One pixel from the borders of region and image, where padding mixes in.
    inside = (px + 0.5 > x + 1) & (px + 0.5 < x + side - 1) & (px >= 1) & (px < 99)
    inside = inside & (py + 0.5 > y + 1) & (py + 0.5 < y + side - 1) & (py >= 1) & (py < 79)
    for found, expected in zip(windows.logits, (px, py)):
        assert ((found - expected).abs()[inside] < 0.02).all()


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 30), st.floats(0, 20), st.floats(10, 60))
def test_masks_come_back_unchanged(seed, x, y, side):
    """A region of up to half the crop's size loses no pixel of any mask, wherever between pixels it begins."""
    mask = torch.rand(1, 60, 80, generator=torch.Generator().manual_seed(seed)) > 0.5
    regions = torch.tensor([[x, y, x + side, y + side]])
    crops = masks_to_crops(mask, regions, 128)
    windows = logits_to_image(crops.float() - 0.5, regions)
    seen = windows.logits.isfinite()
    pasted = paste_windows(windows, (60, 80)) > 0
    where = paste_windows(ImageWindows(seen.float(), windows.corners), (60, 80)) > 0
    # Within half a pixel of the region's border a pixel is only partly in the crop.
    inside = torch.zeros(60, 80, dtype=torch.bool)
    inside[int(np.ceil(y)) : int(y + side), int(np.ceil(x)) : int(x + side)] = True
    assert where[0][inside].all()
    assert torch.equal(pasted[0] & inside, mask[0] & inside)


def test_masks_are_cut_as_images_are():
    mask = torch.zeros(1, 40, 40, dtype=torch.bool)
    mask[0, 10:20, 5:15] = True
    crops = masks_to_crops(mask, torch.tensor([[5.0, 10.0, 25.0, 30.0]]), 80)
    assert crops[0, :39, :39].all() and not crops[0, 40:].any() and not crops[0, :, 40:].any()
    assert crops.sum() == 1599  # interpolation rounds the corner off by one pixel of the crop


def test_nothing_is_object_outside_the_image():
    crops = masks_to_crops(torch.ones(1, 10, 10, dtype=torch.bool), torch.tensor([[-10.0, 0.0, 10.0, 20.0]]), 40)
    assert crops[0, :20, 20:].all() and crops.sum() == 400


@settings(deadline=None)
@given(st.floats(-40, 130), st.floats(-40, 130), st.floats(2, 60), st.floats(2, 60))
def test_the_scene_around_an_object_does_not_matter(x, y, w, h):
    """The crop of an object is the same from the whole scene and from any part of it that holds the region."""
    scene = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    regions = crop_regions(torch.tensor([[x, y, x + w, y + h]]))
    x1, y1, x2, y2 = regions[0].tolist()
    left, top = max(int(np.floor(x1)) - 2, 0), max(int(np.floor(y1)) - 2, 0)
    part = scene[..., top : max(int(np.ceil(y2)) + 2, top + 1), left : max(int(np.ceil(x2)) + 2, left + 1)]
    if part.numel():
        shift = torch.tensor([left, top, left, top])
        from_scene = crop_resize(scene, regions, 64)
        torch.testing.assert_close(crop_resize(part, regions - shift, 64), from_scene, rtol=0, atol=0.05)


def test_windows_may_leave_the_image():
    logits = torch.ones(3, 16, 16)
    regions = torch.tensor([[-4.0, -4.0, 4.0, 4.0], [6.0, 5.0, 14.0, 13.0], [50.0, 50.0, 58.0, 58.0]])
    masks = paste_windows(logits_to_image(logits, regions), (10, 12)) > 0
    assert masks[0].nonzero().amax(0).tolist() == [3, 3] and masks[0].sum() == 16
    assert masks[1].nonzero().amin(0).tolist() == [5, 6] and masks[1].sum() == 30
    assert masks[2].sum() == 0


def test_pixels_outside_the_region_are_no_object():
    windows = logits_to_image(torch.ones(1, 8, 8), torch.tensor([[2.6, 3.0, 6.6, 7.0]]))
    assert windows.corners.tolist() == [[2, 3]]
    assert windows.logits[0].isfinite().tolist() == [[False, True, True, True, True]] * 4


def test_far_from_the_origin_nothing_is_lost():
    """At 100 000 pixels, float32 coordinates of pixel centres have steps of 0.008."""
    logits = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    near = logits_to_image(logits, torch.tensor([[0.25, 0.5, 16.25, 16.5]]))
    far = logits_to_image(logits, torch.tensor([[100000.25, 65536.5, 100016.25, 65552.5]]))
    torch.testing.assert_close(far.logits, near.logits, rtol=0, atol=1e-4)


def test_no_objects():
    windows = logits_to_image(torch.zeros(0, 256, 256), torch.zeros(0, 4))
    assert paste_windows(windows, (20, 30)).shape == (0, 20, 30)
    assert masks_to_crops(torch.zeros(0, 20, 30, dtype=torch.bool), torch.zeros(0, 4), 64).shape == (0, 64, 64)
