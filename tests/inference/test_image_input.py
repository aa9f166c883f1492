"""Images in every form: the same pixels."""

import numpy as np
import pytest
import torch
from PIL import Image

from insight.errors import InputError
from insight.inference.image_input import to_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)


def test_arrays_tensors_and_paths(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    alpha = np.dstack([PIXELS, np.full((9, 12), 3, np.uint8)])
    bgr = PIXELS[:, :, ::-1]
    for image, order in [
        (PIXELS, "RGB"), (bgr, "BGR"), (alpha, "RGB"), (np.dstack([bgr, alpha[:, :, 3]]), "BGR"),
        (np.asfortranarray(PIXELS), "RGB"), (tmp_path / "image.png", "RGB"), (str(tmp_path / "image.png"), "BGR"),
        (Image.fromarray(PIXELS), "RGB"), (Image.fromarray(PIXELS), "BGR"),
        (torch.from_numpy(PIXELS).permute(2, 0, 1), "RGB"), (torch.from_numpy(bgr.copy()).permute(2, 0, 1), "BGR"),
        (torch.from_numpy(alpha).permute(2, 0, 1), "RGB"),
    ]:  # fmt: skip
        assert np.array_equal(to_rgb(image, order), PIXELS)
    grey = torch.from_numpy(PIXELS[:, :, 0])[None]
    assert np.array_equal(to_rgb(grey), PIXELS[:, :, :1].repeat(3, 2))


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "RGBX", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr", "LAB", "HSV", "RGBa", "La"]
)
def test_pillow_images_are_what_they_show(mode):
    source = Image.fromarray(PIXELS)
    if mode == "La":
        image = source.convert("LA").convert("La")
    elif mode in ("RGBa",):
        image = source.convert("RGBA").convert(mode)
    elif mode == "PA":
        image = source.convert("P").convert("PA")
    else:
        image = source.convert(mode)
    assert image.mode == mode
    found = to_rgb(image)
    assert found.dtype == np.uint8 and found.shape == PIXELS.shape
    expected = None if mode == "La" else np.asarray(image.convert("RGB"))
    if mode in ("L", "LA", "La"):
        expected = np.asarray(source.convert("L"))[:, :, None].repeat(3, 2)
    elif mode == "1":
        expected = np.asarray(image)[:, :, None].repeat(3, 2) * np.uint8(255)
    elif mode in ("CMYK", "RGBA", "RGBX", "RGBa"):
        expected = PIXELS
    assert np.array_equal(found, expected)


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "palette.png", transparency=0)
    with Image.open(tmp_path / "palette.png") as opened:
        assert opened.mode == "P"
        assert to_rgb(opened).tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 255, 0], [255, 0, 0]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pillow_image_is_rotated_as_its_file_is(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "rotated.png", exif=exif)
    with Image.open(tmp_path / "rotated.png") as opened:
        assert np.array_equal(to_rgb(opened), to_rgb(tmp_path / "rotated.png"))


@pytest.mark.parametrize(
    "image, said",
    [
        (Image.fromarray(np.zeros((4, 4), np.uint16)), "expected a Pillow image with 8 bits per band, got mode 'I;16'"),
        (Image.new("F", (4, 4)), "got mode 'F'; choose three bands and stretch them to 8 bits first"),
        (Image.new("I", (4, 4)), "got mode 'I'"),
        (torch.zeros(3, 4, 4), "image: expected a uint8 tensor, got torch.float32; scale pixel values to 0 ... 255"),
        (torch.zeros(9, 12, 3, dtype=torch.uint8), r"image: expected a tensor .* \(3, H, W\), got \(9, 12, 3\); pass"),
        (torch.zeros(2, 3, 9, 9, dtype=torch.uint8), r"image: expected a tensor .* got \(2, 3, 9, 9\)$"),
        (PIXELS / 255, "image: expected uint8"),
        (PIXELS[None], "image: expected uint8"),
        (np.zeros((0, 4, 3), np.uint8), "image: has no pixels"),
        (None, "image: expected a path, an array .* got NoneType"),
        ([[1, 2], [3, 4]], "image: expected a path, an array .* got list"),
        (7, "got int"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_one_line(image, said):
    with pytest.raises(ValueError, match=said) as caught:
        to_rgb(image)
    assert "\n" not in str(caught.value)


def test_another_order():
    with pytest.raises(InputError, match='order: expected "RGB" or "BGR", got \'rgb\''):
        to_rgb(PIXELS, "rgb")
