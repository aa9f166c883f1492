"""Rasters against rasterio's own reading, NumPy's percentiles and geodesics."""

import pickle

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

import rasterio
import rasterio.shutil
from affine import Affine
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.env import get_gdal_config

from insight.errors import InputError
from insight.geo.raster import Raster, bounded_cache
from insight.geo.stretch import parse_rescale

UTM = Affine(0.5, 0, 500000, 0, -0.5, 4900000)


def write(path, pixels, transform=UTM, crs="EPSG:32632", **options):
    """Write (bands, H, W) as a GeoTIFF."""
    count, height, width = pixels.shape
    descriptions, colours, mask = (options.pop(key, None) for key in ("descriptions", "colorinterp", "mask"))
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **profile, transform=transform, crs=crs, **options) as file:
        file.write(pixels)
        if descriptions:
            file.descriptions = descriptions
        if colours:
            file.colorinterp = colours
        if mask is not None:
            file.write_mask(mask)
    return path


def noise(shape, dtype=np.uint8, seed=0, top=None):
    rng = np.random.default_rng(seed)
    return (rng.random(shape) * (top or np.iinfo(dtype).max)).astype(dtype)


def test_bands_of_8_bits_stay_as_they_are(tmp_path):
    pixels = noise((3, 40, 60))
    raster = Raster(write(tmp_path / "a.tif", pixels))
    assert (raster.width, raster.height, raster.gsd_m, raster.rescale) == (60, 40, 0.5, None)
    assert raster.transform == UTM and raster.crs.to_epsg() == 32632
    np.testing.assert_array_equal(raster.read((5, 7, 25, 31)), pixels[:, 7:31, 5:25].transpose(1, 2, 0))


@pytest.mark.parametrize(
    "options", [{"BIGTIFF": "YES"}, {"tiled": True, "blockxsize": 32, "blockysize": 16}, {"compress": "deflate"}]
)
def test_the_layout_of_the_file_changes_nothing(tmp_path, options):
    pixels = noise((3, 80, 90))
    raster = Raster(write(tmp_path / "a.tif", pixels, **options))
    np.testing.assert_array_equal(raster.read((0, 0, 90, 80)), pixels.transpose(1, 2, 0))


def test_a_cloud_optimised_file_is_read_by_its_overviews(tmp_path):
    pixels = noise((1, 1500, 2080), np.uint16, top=4000)
    write(tmp_path / "a.tif", pixels)
    options = {"driver": "COG", "blocksize": 256, "overview_resampling": "average"}
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "cog.tif", **options)
    raster = Raster(tmp_path / "cog.tif", rescale="0,4000")
    exact = np.rint(pixels[0, 300:700, 100:900, None] / 4000 * 255)
    assert np.abs(raster.read((100, 300, 900, 700)) - exact).max() <= 1
    with rasterio.open(tmp_path / "cog.tif", overview_level=0) as overview:
        assert overview.shape == (750, 1040)
        half = np.rint(overview.read(1)[..., None] / 4000 * 255)
    assert np.abs(raster.read((0, 0, 2080, 1500), (750, 1040)).astype(int) - half).max() <= 1
    # The stretch, too, is computed from the overviews, whose values are means.
    ((low, high),) = Raster(tmp_path / "cog.tif").rescale
    assert np.percentile(pixels, 2) < low < high < np.percentile(pixels, 98)


def test_jpeg_2000(tmp_path):
    pixels = noise((3, 70, 90))
    write(tmp_path / "a.tif", pixels)
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "a.jp2", driver="JP2OpenJPEG", quality=100, reversible=True)
    raster = Raster(tmp_path / "a.jp2")
    assert raster.crs.to_epsg() == 32632 and raster.transform == UTM
    np.testing.assert_array_equal(raster.read((20, 10, 90, 70)), pixels[:, 10:, 20:].transpose(1, 2, 0))


def test_a_virtual_mosaic_of_two_files_is_one_raster(tmp_path):
    pixels = noise((1, 30, 50))
    write(tmp_path / "left.tif", pixels[..., :20])
    write(tmp_path / "right.tif", pixels[..., 20:], UTM * Affine.translation(20, 0))
    parts = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{name}.tif</SourceFilename><SourceBand>1</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="30"/>'
        f'<DstRect xOff="{x}" yOff="0" xSize="{width}" ySize="30"/></SimpleSource>'
        for name, x, width in (("left", 0, 20), ("right", 20, 30))
    )
    band = f'<VRTRasterBand dataType="Byte" band="1">{parts}</VRTRasterBand>'
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="50" rasterYSize="30">{band}</VRTDataset>')
    found = Raster(tmp_path / "a.vrt").read((10, 5, 40, 25))
    np.testing.assert_array_equal(found, pixels[0, 5:25, 10:40, None].repeat(3, 2))


def test_a_virtual_mosaic_reads_its_files(tmp_path):
    pixels = noise((3, 30, 50))
    write(tmp_path / "a.tif", pixels)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{b}"><SimpleSource><SourceFilename relativeToVRT="1">a.tif'
        f"</SourceFilename><SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>"
        for b in (1, 2, 3)
    )
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="50" rasterYSize="30">{bands}</VRTDataset>')
    raster = Raster(tmp_path / "a.vrt")
    np.testing.assert_array_equal(raster.read((0, 0, 50, 30)), pixels.transpose(1, 2, 0))
    before = raster.content_digest()
    write(tmp_path / "a.tif", noise((3, 30, 50), seed=1))
    assert Raster(tmp_path / "a.vrt").content_digest() != before


def test_bands_by_number_name_and_declared_colour(tmp_path):
    pixels = noise((5, 20, 20))
    names = ("blue", "green", "red", "nir", "qa")
    path = write(tmp_path / "a.tif", pixels, descriptions=names)
    for bands in ("3,2,1", [3, 2, 1], "red,green,blue", ["red", 2, "blue"]):
        np.testing.assert_array_equal(Raster(path, bands).read((0, 0, 20, 20)), pixels[[2, 1, 0]].transpose(1, 2, 0))
    grey = Raster(path, "nir").read((0, 0, 20, 20))
    np.testing.assert_array_equal(grey, pixels[3][..., None].repeat(3, 2))
    numbered = write(tmp_path / "numbered.tif", pixels, descriptions=("5", "4", "3", "2", "1"))
    assert (Raster(numbered, [1, 2, 3]).bands, Raster(numbered, "1,2,3").bands) == ((1, 2, 3), (5, 4, 3))
    colours = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined, ColorInterp.undefined]
    assert Raster(write(tmp_path / "b.tif", pixels, colorinterp=colours)).bands == (3, 2, 1)


@pytest.mark.parametrize("bands", ["1,2", "0", "6", "purple", "1,2,3,4"])
def test_bands_that_the_file_lacks_are_refused(tmp_path, bands):
    with pytest.raises(InputError, match="bands: expected"):
        Raster(write(tmp_path / "a.tif", noise((5, 20, 20))), bands)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_the_stretch_is_the_scenes_2nd_to_98th_percentile(tmp_path, dtype):
    pixels = noise((3, 64, 96), dtype, top=3000)
    raster = Raster(write(tmp_path / "a.tif", pixels))
    expected = [np.percentile(band, [2, 98]) for band in pixels.astype(float)]
    np.testing.assert_allclose(raster.rescale, expected)
    low, high = np.array(expected).T[:, :, None, None]
    stretched = np.clip((pixels - low) / (high - low) * 255, 0, 255).transpose(1, 2, 0)
    whole = raster.read((0, 0, 96, 64))
    assert np.abs(whole - stretched).max() <= 0.51
    # the same for every window, and for another raster that is given it
    np.testing.assert_array_equal(raster.read((10, 20, 50, 60)), whole[20:60, 10:50])
    again = Raster(tmp_path / "a.tif", rescale=raster.rescale)
    np.testing.assert_array_equal(again.read((0, 0, 96, 64)), whole)


def test_a_given_stretch_is_that_of_an_image_stretched_before(tmp_path):
    pixels = noise((8, 32, 32), np.uint16, top=5000)
    raster = Raster(write(tmp_path / "a.tif", pixels), "4,3,2", "0,3000")
    expected = np.rint(np.clip(pixels[[3, 2, 1]] / 3000 * 255, 0, 255)).transpose(1, 2, 0)
    assert np.abs(raster.read((0, 0, 32, 32)) - expected).max() <= 1


def test_the_sample_of_a_large_raster_without_overviews_is_close_to_all_of_it(tmp_path, monkeypatch):
    ramp = np.linspace(0, 10000, 1100 * 1300).reshape(1, 1100, 1300).astype(np.uint16)
    path = write(tmp_path / "a.tif", ramp)
    monkeypatch.setattr("insight.geo.raster._READ_WHOLE", 1)
    ((low, high),) = Raster(path).rescale
    assert abs(low - 200) < 700 and abs(high - 9800) < 700


@pytest.mark.parametrize("text", ["5", "5,1", "3,3", "a,b", "1,2,3", "nan,4", "0,1,0,1"])
def test_a_stretch_of_other_numbers_is_refused(text):
    with pytest.raises(InputError, match="rescale: expected LOW,HIGH"):
        parse_rescale(text, 3)


def test_pixels_without_data_are_black(tmp_path):
    pixels = noise((3, 30, 30), np.uint16, top=4000) + 1
    pixels[:, 5:10] = 0
    nodata = Raster(write(tmp_path / "a.tif", pixels, nodata=0))
    mask = np.full((30, 30), 255, np.uint8)
    mask[5:10] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        masked = Raster(write(tmp_path / "b.tif", pixels, mask=mask))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        beside = Raster(write(tmp_path / "e.tif", pixels, mask=mask))
    assert (tmp_path / "e.tif.msk").exists() and not (tmp_path / "b.tif.msk").exists()
    floats = pixels.astype(np.float32)
    floats[:, 5:10] = np.nan
    nan = Raster(write(tmp_path / "c.tif", floats))
    alpha = np.concatenate([noise((3, 30, 30)) | 1, mask[None]])
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    transparent = Raster(write(tmp_path / "d.tif", alpha, colorinterp=colours))
    for raster in (nodata, masked, beside, nan, transparent):
        found = raster.read((0, 0, 30, 30))
        assert not found[5:10].any() and found[:5].any() and found[10:].any()
    assert nodata.rescale == masked.rescale == beside.rescale == nan.rescale  # and they do not count for the stretch
    assert min(low for low, _ in nodata.rescale) > 1


def test_palettes_are_looked_up(tmp_path):
    picture = Image.fromarray(noise((20, 30, 3))).convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(tmp_path / "a.png")
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(Raster(tmp_path / "a.png").read((0, 0, 30, 20)), expected)


def test_plain_pictures_have_pixels_or_a_world_file(tmp_path):
    pixels = noise((20, 30, 3))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    plain = Raster(tmp_path / "a.png")
    assert not plain.is_georeferenced and plain.transform == Affine.identity() and plain.gsd_m is None
    np.testing.assert_array_equal(plain.read((0, 0, 30, 20)), pixels)
    (tmp_path / "a.pgw").write_text("2.0\n0\n0\n-2.0\n1001.0\n1999.0\n")  # centre of the first pixel
    placed = Raster(tmp_path / "a.png")
    assert placed.is_georeferenced and placed.crs is None and placed.transform == Affine(2, 0, 1000, 0, -2, 2000)


def test_rotated_transforms_are_kept(tmp_path):
    rotated = UTM * Affine.rotation(30)
    raster = Raster(write(tmp_path / "a.tif", noise((3, 20, 30)), rotated))
    assert raster.transform.almost_equals(rotated) and raster.gsd_m == pytest.approx(0.5)


def test_the_ground_distance_of_degrees_and_of_feet_is_in_metres(tmp_path):
    step = 1e-5  # at 60 degrees north half as wide as high
    degrees = Raster(write(tmp_path / "a.tif", noise((3, 20, 20)), Affine(step, 0, 10, 0, -step, 60), "EPSG:4326"))
    metres = 6378137 * np.radians(step)
    assert degrees.gsd_m == pytest.approx(metres * np.sqrt(0.5), rel=0.005)
    feet = Raster(write(tmp_path / "b.tif", noise((3, 20, 20)), Affine(1, 0, 0, 0, -1, 0), "EPSG:2263"))
    assert feet.gsd_m == pytest.approx(0.3048, rel=1e-4)


def test_a_ground_distance_resamples_the_whole_raster_alike(tmp_path):
    pixels = noise((3, 64, 96)) // 2
    path = write(tmp_path / "a.tif", pixels)
    raster = Raster(path, gsd=1.0)
    assert raster.size == (32, 48) and raster.gsd_m == pytest.approx(1.0)
    assert raster.transform * (48, 32) == UTM * (96, 64)
    assert (raster.zoom, raster.file_size, raster.file_transform) == (0.5, (64, 96), UTM)
    whole = raster.read((0, 0, 48, 32))
    mean = pixels.reshape(3, 32, 2, 48, 2).mean((2, 4)).transpose(1, 2, 0)
    assert np.abs(whole - mean).max() <= 1
    np.testing.assert_array_equal(raster.read((11, 3, 31, 20)), whole[3:20, 11:31])
    assert Raster(path, gsd=0.25).size == (128, 192)


def test_ground_control_points_are_warped(tmp_path, caplog):
    pixels = np.zeros((3, 40, 60), np.uint8)
    pixels[:, 10:20, 30:50] = 200
    corners = [(0, 0), (0, 60), (40, 0), (40, 60)]
    points = [GroundControlPoint(row, col, *(UTM * (col, row))) for row, col in corners]
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", count=3, height=40, width=60, dtype="uint8") as file:
        file.gcps = (points, "EPSG:32632")
        file.write(pixels)
    raster = Raster(tmp_path / "a.tif")
    assert raster.crs.to_epsg() == 32632 and raster.gsd_m == pytest.approx(0.5, rel=0.03)
    assert "warped by its 4 ground control points" in caplog.text
    column, row = ~raster.transform * (UTM * (40, 15))
    assert raster.read((0, 0, raster.width, raster.height))[int(row), int(column)].min() > 190


def test_a_pickled_raster_reads_the_same(tmp_path):
    pixels = noise((3, 64, 96), np.uint16, top=900)
    pixels[1] = 7  # a constant band, whose stretch no user could give
    raster = Raster(write(tmp_path / "a.tif", pixels), gsd=1.0)
    again = pickle.loads(pickle.dumps(raster))
    np.testing.assert_array_equal(again.read((3, 4, 30, 31)), raster.read((3, 4, 30, 31)))
    assert again.settings == raster.settings


def test_a_raster_without_any_data_is_refused(tmp_path):
    with pytest.raises(InputError, match="no pixel has data"):
        Raster(write(tmp_path / "a.tif", np.zeros((3, 20, 20), np.uint16), nodata=0))
    with pytest.raises(InputError, match="no pixel has data"):
        Raster(write(tmp_path / "c.tif", np.zeros((3, 20, 20), np.uint8), nodata=0))
    with pytest.raises(InputError, match="holds one value only"):
        Raster(write(tmp_path / "b.tif", np.full((3, 20, 20), np.nan, np.float32)))


def test_constant_bands_are_refused_or_said_to_be(tmp_path, caplog):
    pixels = noise((3, 20, 20), np.uint16)
    pixels[1] = 12
    raster = Raster(write(tmp_path / "a.tif", pixels))
    assert "band 2 holds one value only" in caplog.text and not raster.read((0, 0, 20, 20))[..., 1].any()
    with pytest.raises(InputError, match="holds one value only"):
        Raster(write(tmp_path / "b.tif", np.full((1, 20, 20), 9, np.uint16)))


def test_a_truncated_file_is_one_line(tmp_path):
    path = write(tmp_path / "a.tif", noise((3, 400, 400)))
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(OSError, match="cannot read raster .*a.tif: it is truncated"):
        Raster(path).read((0, 0, 400, 400))
    (tmp_path / "b.tif").write_bytes(b"no raster")
    with pytest.raises(OSError, match="cannot read raster .*b.tif"):
        Raster(tmp_path / "b.tif")
    with pytest.raises(FileNotFoundError, match="no such raster"):
        Raster(tmp_path / "c.tif")


@pytest.mark.parametrize("window", [(0, 0, 0, 5), (0, 0, 5, 0), (-1, 0, 5, 5), (0, 0, 21, 5), (5, 5, 4, 9)])
def test_windows_that_are_empty_or_leave_the_raster_are_refused(tmp_path, window):
    with pytest.raises(InputError, match="window: expected"):
        Raster(write(tmp_path / "a.tif", noise((3, 20, 20)))).read(window)


@pytest.mark.parametrize(
    ("options", "match"), [({"gsd": 0}, "gsd: expected"), ({"gsd": float("nan")}, "gsd: expected")]
)
def test_impossible_options_are_refused(tmp_path, options, match):
    with pytest.raises(InputError, match=match):
        Raster(write(tmp_path / "a.tif", noise((3, 20, 20))), **options)


def test_a_ground_distance_without_coordinates_is_refused(tmp_path):
    Image.fromarray(noise((20, 30, 3))).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="gsd: .* has no CRS"):
        Raster(tmp_path / "a.png", gsd=0.3)


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(InputError, match="complex"):
        Raster(write(tmp_path / "a.tif", np.zeros((1, 20, 20), np.complex64)))


def test_a_run_bounds_the_blocks_that_gdal_keeps():
    before = get_gdal_config("GDAL_CACHEMAX")
    with bounded_cache():
        assert get_gdal_config("GDAL_CACHEMAX") == min(before, 2**29)
    assert get_gdal_config("GDAL_CACHEMAX") == before
