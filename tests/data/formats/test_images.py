import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from insight.data.formats.images import as_rgb, image_size, read_image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("RGB", RGB),
        ("RGBA", RGB),
        ("L", np.asarray(Image.fromarray(RGB).convert("L").convert("RGB"))),
        ("LA", np.asarray(Image.fromarray(RGB).convert("L").convert("RGB"))),
        ("1", np.asarray(Image.fromarray(RGB).convert("1").convert("RGB"))),
        ("P", np.asarray(Image.fromarray(RGB).convert("P").convert("RGB"))),
    ],
)
def test_every_8_bit_mode_is_read_as_colour(tmp_path, mode, expected):
    path = tmp_path / "image.png"
    Image.fromarray(RGB).convert(mode).save(path)
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == (5, 7)


def test_exif_rotation_is_applied(tmp_path):
    path = tmp_path / "image.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    Image.fromarray(RGB).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(RGB, -1))
    assert image_size(path) == (7, 5)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int32])
def test_deeper_pixels_are_refused_with_what_to_do(tmp_path, dtype):
    path = tmp_path / "deep.tif"
    Image.fromarray(RGB[:, :, 0].astype(dtype)).save(path)
    with pytest.raises(ValueError, match=r"deep.tif: its pixels are .*, expected 8 bits a band; .*stretch"):
        read_image(path)


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_of_16_bits_is_refused(tmp_path, suffix, bands):
    """Pillow would give its upper bytes, so that a sensor's 11 bits are almost black."""
    path = tmp_path / f"deep.{suffix}"
    assert cv2.imwrite(str(path), np.full((5, 7, bands), 2047, np.uint16))
    with pytest.raises(ValueError, match=r"deep.*: its pixels are RGBA? of 16 bits, expected 8 bits a band; .*"):
        read_image(path)


@pytest.mark.parametrize("meaning", [0, 2], ids=["unspecified", "alpha"])
def test_of_four_bands_the_first_three_are_read(tmp_path, meaning):
    path = tmp_path / "bands.tif"
    four = np.concatenate([RGB, 255 - RGB[:, :, :1]], 2)
    Image.fromarray(four).save(path, tiffinfo={338: meaning})  # ExtraSamples
    np.testing.assert_array_equal(read_image(path), RGB)


def test_images_beyond_pillows_limit_are_read(tmp_path, monkeypatch):
    path = tmp_path / "scene.png"
    Image.fromarray(RGB).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # twice as many are an error
    np.testing.assert_array_equal(read_image(path), RGB)
    assert image_size(path) == (5, 7)
    assert Image.MAX_IMAGE_PIXELS == 10  # is the user's to set


def test_lack_of_memory_is_called_so(tmp_path, monkeypatch):
    path = tmp_path / "scene.png"
    Image.fromarray(RGB).save(path)

    def load(_):
        raise MemoryError

    monkeypatch.setattr(PngImageFile, "load", load)
    with pytest.raises(OSError, match="scene.png: not enough memory for its pixels"):
        read_image(path)


def test_unreadable_files_are_named(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(np.repeat(np.repeat(RGB, 50, 0), 50, 1)).save(whole)
    content = whole.read_bytes()
    for name, data in {"cut.png": content[: len(content) // 2], "text.jpg": b"hello", "empty.tif": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(OSError, match=f"cannot read image .*{name}: it is truncated, corrupt"):
            read_image(tmp_path / name)
    with pytest.raises(OSError, match="cannot read image .*text.jpg"):
        image_size(tmp_path / "text.jpg")
    with pytest.raises(FileNotFoundError, match="no such image: .*absent.png"):
        read_image(tmp_path / "absent.png")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2)])
def test_grey_arrays_become_three_bands(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    grey = image.reshape(5, 7, -1)[:, :, :1]
    np.testing.assert_array_equal(as_rgb(image), np.concatenate([grey] * 3, axis=2))


@pytest.mark.parametrize(
    "image", [RGB.astype(np.uint16), RGB[None], np.zeros((5, 7, 5), np.uint8), RGB / 255, np.zeros((0, 7, 3), np.uint8)]
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="^image: (expected uint8 of shape|has no pixels)"):
        as_rgb(image)
