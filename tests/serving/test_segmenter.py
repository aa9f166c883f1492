"""Cached crops and windows give the masks of the predictor."""

import numpy as np
import pytest

pytest.importorskip("rasterio")
from helpers import rasters
from helpers.servers import write_images
from PIL import Image

from insight.errors import InputError
from insight.geo.raster import Raster
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.serving.library import Library
from insight.serving.pixels import ArrayPixels, RasterPixels
from insight.serving.refusal import Refusal
from insight.serving.segmenter import Prompt, Segmenter
from insight.serving.settings import Limits
from insight.structures.rle import rle_to_bitmap


@pytest.fixture
def predictor(model):
    return SOPSegPredictor.from_pretrained(model, "cpu")


@pytest.fixture(scope="module")
def image():
    coarse = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1))


def _iou(code, mask):
    found = rle_to_bitmap(code)
    return (found & mask).sum() / max(1, (found | mask).sum())


PROMPTS = [
    Prompt(box=[20, 30, 60, 50]),
    Prompt(box=[-20, -10, 30, 40], points=[[5, 5]], labels=[1]),
    Prompt(oriented_box=[150, 100, 60, 20, 30]),
    Prompt(box=[290, 200, 320, 240], points=[[300, 220], [1, 1]], labels=[1, 0]),
    Prompt(points=[[100, 100], [200, 50]], labels=[1, 0]),
    Prompt(box=[20, 30, 60, 50], points=[[5, 40]], labels=[1]),  # a point outside widens the region
]


def _expected(predictor, image, prompt):
    given = {"points": [prompt.points], "labels": [prompt.labels]} if len(prompt.points) else {}
    if prompt.box is not None:
        given["boxes"] = [prompt.box]
    if prompt.oriented_box is not None:
        given["oriented_boxes"] = [prompt.oriented_box]
    return predictor.predict(image=image, **given)


def test_many_prompts_at_once_are_those_of_the_predictor(predictor, image):
    segmenter = Segmenter(predictor, 1 << 24)
    found = segmenter.segment(ArrayPixels(image, "a"), PROMPTS)
    for one, prompt in zip(found, PROMPTS, strict=True):
        expected = _expected(predictor, image, prompt)
        assert _iou(one.code, np.asarray(expected.masks)[0]) > 0.99
        assert one.score == pytest.approx(expected.scores.item(), abs=1e-4)


def test_windows_of_a_raster_give_the_masks_of_the_whole(tmp_path, predictor, image):
    path = rasters.write(tmp_path / "a.tif", image, tiled=True, blockxsize=64, blockysize=64)
    boxed = [prompt for prompt in PROMPTS if prompt.box or prompt.oriented_box]
    whole = Segmenter(predictor, 1 << 24).segment(ArrayPixels(image, "a"), boxed)
    windows = Segmenter(predictor, 1 << 24).segment(RasterPixels(Raster(path), "b"), boxed)
    for one, other in zip(whole, windows, strict=True):
        assert _iou(one.code, rle_to_bitmap(other.code)) > 0.99


def test_an_oriented_box_takes_points(predictor, image):
    segmenter, pixels = Segmenter(predictor, 1 << 24), ArrayPixels(image, "a")
    box = [150, 100, 60, 20, 30]
    plain, pointed = segmenter.segment(
        pixels, [Prompt(oriented_box=box), Prompt(oriented_box=box, points=[[150, 100]], labels=[0])]
    )
    assert len(segmenter.crops) == 1
    assert plain.score != pointed.score


def test_the_cache_is_bounded_and_harmless(predictor, image):
    segmenter, pixels = Segmenter(predictor, 100_000), ArrayPixels(image, "a")
    prompts = [Prompt(box=[x, 20, x + 30, 60]) for x in range(0, 280, 8)]
    first = segmenter.segment(pixels, prompts)
    assert 0 < segmenter.crops.bytes <= 100_000
    again = segmenter.segment(pixels, prompts)
    assert all(_iou(one.code, rle_to_bitmap(two.code)) > 0.99 for one, two in zip(first, again))
    other = segmenter.segment(ArrayPixels(255 - image, "b"), prompts[:1])
    assert other[0].score != first[0].score  # of another image


def test_enormous_boxes_of_rasters_are_refused(predictor):
    class Huge:
        key, size = "huge", (20_000, 20_000)

        def read(self, window, size=None):
            raise AssertionError("must not be read")

    segmenter = Segmenter(predictor, 1 << 20)
    with pytest.raises(InputError, match="box"):
        segmenter.segment(Huge(), [Prompt(box=[0, 0, 15_000, 15_000])])
    with pytest.raises(InputError, match="points"):
        segmenter.segment(Huge(), [Prompt(points=[[10, 10], [15_000, 10]], labels=[1, 1])])
    with pytest.raises(InputError, match="box"):  # before it is answered together with the prompts of others
        segmenter.check(Huge(), Prompt(box=[0, 0, 15_000, 15_000]))


def test_large_images_are_read_in_windows_and_small_ones_kept(tmp_path, image):
    rasters.write(tmp_path / "a.tif", image)
    write_images(tmp_path, [(240, 320)])
    for pixels, kind in ((100_000, ArrayPixels), (10_000, RasterPixels)):
        library = Library([tmp_path], Limits(pixels=pixels))
        for served in library.images:
            opened = library.open(served)
            assert isinstance(opened, kind)
            assert opened is library.open(served)
            window = (13, 17, 200, 230)
            expected = library.open(served).read((0, 0, 320, 240))[17:230, 13:200]
            assert np.array_equal(opened.read(window), expected)
            assert opened.read((0, 0, 320, 240), (60, 80)).shape == (60, 80, 3)


def test_a_photograph_turned_by_its_exif_data_is_not_read_in_windows(tmp_path, image):
    turned = Image.Exif()
    turned[0x0112] = 6  # GDAL does not turn it
    Image.fromarray(image).save(tmp_path / "a.jpg", exif=turned)
    (served,) = Library([tmp_path], Limits()).images
    described = Library([tmp_path], Limits()).describe(served)
    assert (described.height, described.width) == Library([tmp_path], Limits()).open(served).size == (320, 240)
    library = Library([tmp_path], Limits(pixels=10_000))
    for _ in range(2):
        with pytest.raises(Refusal, match="the image has 240 x 320 pixels; expected at most 10,000"):
            library.open(served)


def test_the_library_finds_what_is_added(tmp_path):
    write_images(tmp_path / "a" / "b", [(16, 16)])
    library = Library([tmp_path / "a"], Limits())
    write_images(tmp_path / "a", [(16, 16)])
    (tmp_path / "a" / ".hidden.png").write_bytes(b"")
    library.refresh()
    assert [served.name for served in library.images] == ["b/image0.png", "image0.png"]
    assert library.find(library.images[0].id).path == tmp_path / "a" / "b" / "image0.png"
    with pytest.raises(InputError, match="no such"):
        Library([tmp_path / "gone"], Limits())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        Library([tmp_path / "empty"], Limits())
