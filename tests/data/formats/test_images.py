"""Images of every kind as files and arrays: pixels, sizes, and what is said of those that cannot be read."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngImageFile, PngInfo

from insight.data.formats.images import as_rgb, image_size, read_image, write_png
from insight.errors import InputError

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


UPRIGHT = {  # by EXIF's orientation: which side of the stored picture is shown on top and on the left
    1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1],
    5: RGB.transpose(1, 0, 2), 6: np.rot90(RGB, -1), 7: RGB[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(RGB),
}  # fmt: skip


@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9, 300, "6", b"6"])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_the_size_is_that_of_the_image_as_it_is_read(tmp_path, suffix, orientation):
    path = tmp_path / f"rotated.{suffix}"
    if suffix != "tif" and not isinstance(orientation, int):
        pytest.skip("Pillow writes such a tag into TIFF only")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = orientation
    tags.tagtype[0x0112] = {str: 2, bytes: 1}.get(type(orientation), 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    extra = {"tiffinfo": tags} if suffix == "tif" else {"exif": exif}
    Image.fromarray(RGB).save(path, **extra, **({"lossless": True} if suffix == "webp" else {}))
    expected = UPRIGHT.get(orientation, RGB)
    image = read_image(path)
    assert image_size(path) == image.shape[:2] == expected.shape[:2]
    if suffix != "jpg":
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("what", ["icc", "text"])
def test_png_with_megabytes_of_metadata(tmp_path, what):
    path = tmp_path / "image.png"
    info = PngInfo()
    if what == "text":
        info.add_text("history", "x" * 3_000_000, zip=True)
    Image.fromarray(RGB).save(path, pnginfo=info, **({"icc_profile": bytes(3_000_000)} if what == "icc" else {}))
    np.testing.assert_array_equal(read_image(path), RGB)
    assert image_size(path) == (5, 7)


def test_png_of_absurd_metadata_is_named(tmp_path):
    path = tmp_path / "image.png"
    info = PngInfo()
    info.add_text("history", "x" * 70_000_000, zip=True)
    Image.fromarray(RGB).save(path, pnginfo=info)
    for read in (read_image, image_size):
        with pytest.raises(OSError, match=r"cannot read image .*image.png: .*too large"):
            read(path)


@pytest.mark.parametrize("image", [RGB, RGB[:, :, 0]], ids=["colour", "grey"])
def test_png_is_written_as_it_is(tmp_path, image):
    path = tmp_path / "new" / "image.png"
    write_png(path, image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)
    assert [p.name for p in path.parent.iterdir()] == ["image.png"]


@pytest.mark.parametrize(
    "dtype, kind", [(np.uint16, "16-bit unsigned"), (np.float32, "32-bit floating-point"), (np.int32, "32-bit signed")]
)
def test_deeper_pixels_are_refused_with_what_to_do(tmp_path, dtype, kind):
    path = tmp_path / "deep.tif"
    Image.fromarray(RGB[:, :, 0].astype(dtype)).save(path)
    with pytest.raises(
        InputError, match=f"deep.tif: its pixels are {kind}, 1 band; expected 8-bit unsigned .*; .*stretch"
    ):
        read_image(path)


@pytest.mark.parametrize("dtype, kind", [(np.float32, "32-bit floating-point"), (np.uint16, "16-bit unsigned")])
def test_bands_that_pillow_does_not_know_are_not_called_corrupt(tmp_path, dtype, kind):
    path = tmp_path / "bands.tif"
    assert cv2.imwrite(str(path), np.full((5, 7, 4), 7, dtype))
    with pytest.raises(InputError, match=f"bands.tif: its pixels are {kind}, 4 bands; expected 8-bit unsigned"):
        read_image(path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(OSError, match="truncated, corrupt"):
        read_image(path)


@pytest.mark.parametrize("bands", [2, 5, 8])
@pytest.mark.parametrize("order, big", [("<", False), (">", False), ("<", True)])
def test_many_bands_of_8_bits_are_named(tmp_path, bands, order, big):
    path = tmp_path / "many.tif"
    path.write_bytes(tiff(np.zeros((3, 4, bands), np.uint8), order, big))
    with pytest.raises(InputError, match=f"many.tif: its pixels are 8-bit unsigned, {bands} bands; expected 8-bit"):
        read_image(path)


def tiff(pixels: np.ndarray, order: str, big: bool) -> bytes:
    """A GeoTIFF's core: one strip, bands interleaved, no ExtraSamples, as some programs leave them out."""
    (height, width, bands), count = pixels.shape, "Q" if big else "I"
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 0, 277: bands, 278: height, 279: pixels.size, 284: 1}
    head = struct.pack(order + ("2sHHHQ" if big else "2sHI"), b"II" if order == "<" else b"MM",
                       *((43, 8, 0, 16) if big else (42, 8)))  # fmt: skip
    entry = 20 if big else 12
    tags[273] = len(head) + (8 if big else 2) + entry * len(tags) + (8 if big else 4)
    body = struct.pack(order + ("Q" if big else "H"), len(tags))
    for tag, value in tags.items():
        body += struct.pack(order + f"HH{count}{count}", tag, 16 if big else 4, 1, value)
    return head + body + struct.pack(order + count, 0) + pixels.tobytes()


def test_signed_bytes_are_not_read_as_unsigned(tmp_path):
    path = tmp_path / "signed.tif"
    Image.fromarray(RGB[:, :, 0]).save(path, tiffinfo={339: (2,)})
    with pytest.raises(InputError, match="signed.tif: its pixels are 8-bit signed, 1 band; expected 8-bit unsigned"):
        read_image(path)


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_of_16_bits_is_refused(tmp_path, suffix, bands):
    """Pillow would give its upper bytes, so that a sensor's 11 bits are almost black."""
    path = tmp_path / f"deep.{suffix}"
    assert cv2.imwrite(str(path), np.full((5, 7, bands), 2047, np.uint16))
    with pytest.raises(ValueError, match="deep.*: its pixels are 16-bit unsigned.*; expected 8-bit unsigned in 1 band"):
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
