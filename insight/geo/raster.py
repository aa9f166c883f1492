"""Rasters with coordinates, read in windows as 8-bit RGB."""

import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import CRS, Geod
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.env import get_gdal_config, set_gdal_config
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from insight.data.formats.images import SUFFIXES as PICTURES
from insight.errors import InputError
from insight.runtime.digests import digest, file_digest

from .stretch import Rescale, apply_stretch, parse_rescale, percentile_limits

Window = tuple[int, int, int, int]
_SAMPLE = 1024  # pixels, the long side of the overview that a stretch is computed from
_READ_WHOLE = 2**26  # pixels up to which a raster without overviews is read whole for that
_BLOCKS = 2**29  # bytes of blocks that GDAL keeps: a row of tiles of 1024 of scenes up to 170,000 pixels wide
_PATCHES, _PATCH = 8, 128  # of a larger one: a grid of so many patches of so many pixels
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)

SUFFIXES = (*PICTURES, ".jp2", ".vrt")  # of the files in a folder that are rasters

_logger = logging.getLogger(__name__)


class Raster:
    """A raster, read in windows as 8-bit RGB.

    Reads what GDAL reads: GeoTIFF and COG (also BigTIFF, with any blocks and overviews), VRT, JPEG 2000, and PNG or
    JPEG with or without a world file. Pixels without data (by nodata value, alpha or mask) are black. Three 8-bit
    bands are used unchanged; others are stretched once for the whole raster. One thread reads at a time; a pickled copy
    opens the file again.

    Pixel coordinates are x to the right and y down from the raster's upper left corner; pixel i covers [i, i + 1).

    Args:
        path: the file.
        bands: one band (grey) or three (red, green, blue), by number from 1 or by the name that the file gives it.
            None: the bands that the file declares to be red, green and blue, else the first three, else the first.
        rescale: the values that become 0 and 255, as `insight.geo.stretch.parse_rescale` takes them. None: 8-bit
            bands are used unchanged, others are stretched from their 2nd to their 98th percentile, computed from an
            overview.
        gsd: ground sampling distance to resample to, metres; None for the raster's own.

    Attributes:
        path: the file.
        file_size: (height, width) in pixels of the file, before resampling.
        width, height: size in pixels, after resampling.
        transform: affine transform from pixels to coordinates of `crs`.
        crs: the coordinate reference system, or None; then `transform` is that of a world file, or the identity.
        gsd_m: metres per pixel in the middle of the raster, also where the CRS is in degrees; None without CRS.
        zoom: side of a pixel of the file in pixels, 1 without resampling.
        is_warped: whether ground control points gave it its transform, so that its pixels are not those of the file.
        bands: numbers of the bands, from 1.
        rescale: for each band the values that become 0 and 255, or None if they are used unchanged.

    Raises:
        OSError: the file is missing, damaged or of an unknown format.
        InputError: an unknown band, an invalid `rescale` or `gsd`, complex numbers, or no pixel with data.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        bands: Sequence[int | str] | str | None = None,
        rescale: Rescale | None = None,
        gsd: float | None = None,
    ):
        self.path, self.gsd, self.zoom = Path(path), gsd, 1.0
        check_gsd(gsd)
        if not self.path.exists():
            raise FileNotFoundError(f"no such raster: {self.path}")
        self._open()
        self.width, self.height = int(self._source.width), int(self._source.height)
        self.transform, self.crs = self._source.transform, self._source.crs
        self.gsd_m = _gsd_in_metres(self.transform, self.crs, self.width, self.height)
        self.bands = _band_numbers(self._file, bands)
        self._palette = _palette(self._file)
        kinds = {self._file.dtypes[band - 1] for band in self.bands}
        if any("complex" in kind for kind in kinds):
            raise InputError(
                f"{self.path}: its pixels are complex numbers; expected integers or floating-point numbers"
            )
        self.rescale: list[tuple[float, float]] | None = None
        if rescale is not None:
            self.rescale, self._palette = parse_rescale(rescale, len(self.bands)), None
        elif kinds != {"uint8"}:
            self.rescale = self._percentiles()
        elif self._has_gaps() and self._is_quick_to_see():
            self._require_data(self._reduced(_SAMPLE)[1])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "path": self.path.absolute(), "_file": None, "_source": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def file_transform(self) -> Affine:
        """The transform from pixels of the file, before resampling, to coordinates of `crs`."""
        return self.transform * Affine.scale(self.zoom)

    @property
    def is_georeferenced(self) -> bool:
        """Whether pixels have coordinates: a CRS, or the transform of a world file."""
        return self.crs is not None or self.transform != Affine.identity()

    @property
    def settings(self) -> dict[str, Any]:
        """All that the pixels depend on but the file's content, as JSON values."""
        return {"bands": list(self.bands), "rescale": self.rescale, "gsd": self.gsd}

    def content_digest(self) -> str:
        """Return a digest of the content of the file and of the files that it refers to, such as those of a VRT."""
        files = [name for name in self._file.files if Path(name).is_file()]
        return digest(*(file_digest(name).encode() for name in files))

    def read(self, window: Window, size: tuple[int, int] | None = None) -> np.ndarray:
        """Read the pixels of a window.

        Args:
            window: (x0, y0, x1, y1) in pixels, x1 and y1 exclusive, inside the raster.
            size: (height, width) to reduce the window to, by the raster's overviews where it has some; None for its
                own size.

        Returns:
            (height, width, 3) uint8 RGB; black where there is no data.

        Raises:
            OSError: the file is damaged there.
            InputError: the window is empty or leaves the raster.
        """
        x0, y0, x1, y1 = window
        if not (0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height):
            raise InputError(f"window: expected (x0, y0, x1, y1) in {self.width} x {self.height} pixels, got {window}")
        if self._opened_by != os.getpid():  # a forked process would share the position in the file
            self._open()
        with _one_line(self.path):
            place = RasterioWindow(x0, y0, x1 - x0, y1 - y0)
            if size is None:
                pixels, valid = self._source.read(self.bands, window=place), self._valid(window=place)
            else:
                pixels = self._source.read(self.bands, window=place, out_shape=(len(self.bands), *size))
                valid = self._valid(window=place, out_shape=size)
        return self._to_rgb(pixels, valid)

    def overview(self, longest: int = 1024) -> np.ndarray:
        """Read the whole raster, reduced.

        Args:
            longest: the long side of the result is at most this, pixels.

        Returns:
            (h, w, 3) uint8 RGB.
        """
        pixels, valid = self._reduced(longest)
        return self._to_rgb(pixels, valid)

    def _open(self) -> None:
        self._opened_by = os.getpid()
        with _one_line(self.path), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            self._file: Any = rasterio.open(self.path)
            if not self._file.count:
                raise InputError(f"{self.path}: holds no bands; name one of its subdatasets instead")
            self._source: Any = self._file
            points, crs = self._file.gcps
            self.is_warped = needs_warp(self._file)
            if self.is_warped:
                if crs is None:
                    raise InputError(
                        f"{self.path}: its ground control points have no CRS; warp it first: gdalwarp -s_srs EPSG:CODE"
                    )
                _logger.warning(f"{self.path}: is warped by its {len(points)} ground control points")
                self._source = WarpedVRT(self._file, src_crs=crs, crs=crs, resampling=Resampling.bilinear)
            self.file_size = int(self._source.height), int(self._source.width)
            if self.gsd is not None:
                self.zoom = _own_gsd(self._source, self.path) / self.gsd
                self._source = _resampled(self._source, 1 / self.zoom)

    def _percentiles(self) -> list[tuple[float, float]]:
        pixels, valid = self._reduced(_SAMPLE) if self._is_quick_to_see() else self._patches()
        limits = percentile_limits(pixels.reshape(len(pixels), -1), valid.reshape(len(valid), -1))
        self._require_data(valid)
        constant = [band for band, (low, high) in zip(self.bands, limits) if low == high]
        if constant:
            named = ", ".join(map(str, constant))
            if len(constant) == len(self.bands):
                raise InputError(f"{self.path}: band {named} holds one value only, or NaN; choose others with bands")
            _logger.warning(f"{self.path}: band {named} holds one value only, or NaN, and becomes black")
        return limits

    def _is_quick_to_see(self) -> bool:
        """Whether all of the raster can be read in short time, reduced."""
        return self.width * self.height <= _READ_WHOLE or bool(self._file.overviews(1))

    def _require_data(self, valid: np.ndarray) -> None:
        if not valid.any():
            raise InputError(f"{self.path}: no pixel has data: all are nodata, masked or transparent")

    def _has_gaps(self) -> bool:
        """Whether pixels may be without data."""
        flags = self._source.mask_flag_enums
        return any(flags[band - 1] != [MaskFlags.all_valid] for band in self.bands)

    def _reduced(self, longest: int) -> tuple[np.ndarray, np.ndarray]:
        reduction = max(1.0, max(self.size) / longest)
        shape = tuple(max(1, round(side / reduction)) for side in self.size)
        with _one_line(self.path):
            return self._source.read(self.bands, out_shape=(len(self.bands), *shape)), self._valid(out_shape=shape)

    def _patches(self) -> tuple[np.ndarray, np.ndarray]:
        """Patches on a grid over a raster without overviews, which would have to be read whole."""
        parts = []
        for row in range(_PATCHES):
            for column in range(_PATCHES):
                y = (2 * row + 1) * self.height // (2 * _PATCHES)
                x = (2 * column + 1) * self.width // (2 * _PATCHES)
                place = RasterioWindow(x, y, min(_PATCH, self.width - x), min(_PATCH, self.height - y))
                with _one_line(self.path):
                    pixels, valid = self._source.read(self.bands, window=place), self._valid(window=place)
                parts.append((pixels.reshape(len(self.bands), -1), valid.reshape(len(self.bands), -1)))
        return np.concatenate([part[0] for part in parts], 1), np.concatenate([part[1] for part in parts], 1)

    def _valid(self, **where: Any) -> np.ndarray:
        """(bands, H, W) bool."""
        if not self._has_gaps():
            shape = where.get("out_shape") or (where["window"].height, where["window"].width)
            return np.ones((len(self.bands), *shape), bool)
        if "out_shape" in where:
            where["out_shape"] = (len(self.bands), *where["out_shape"])
        return self._source.read_masks(self.bands, **where) > 0

    def _to_rgb(self, pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
        shown = valid.any(axis=0)
        if pixels.dtype.kind == "f":
            shown = shown & np.isfinite(pixels).any(axis=0)
        if self._palette is not None:
            pixels = self._palette[:, pixels[0]]
        elif self.rescale is not None:
            pixels = apply_stretch(pixels, self.rescale)
        if len(pixels) == 1:
            pixels = pixels.repeat(3, 0)
        rgb = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        rgb[~shown] = 0
        return rgb


def check_gsd(gsd: float | None) -> None:
    """Check a ground sampling distance to resample to.

    Args:
        gsd: as `Raster` takes it.

    Raises:
        InputError: it is no finite number above 0.
    """
    if gsd is not None and not (math.isfinite(gsd) and gsd > 0):
        raise InputError(f"gsd: expected metres per pixel, above 0, got {gsd}")


def check_bands(bands: Sequence[int | str] | str) -> list[int | str]:
    """Check the number of bands to read.

    Args:
        bands: as `Raster` takes them.

    Returns:
        The number or the name of each.

    Raises:
        InputError: they are not one or three.
    """
    chosen: list[int | str] = [*bands.split(",")] if isinstance(bands, str) else list(bands)
    if len(chosen) not in (1, 3):
        raise InputError(f"bands: expected one band or three (red, green, blue), got {len(chosen)}")
    return chosen


@contextmanager
def bounded_cache() -> Iterator[None]:
    """Let GDAL keep at most 512 MiB of blocks; by default it keeps a twentieth of the machine's memory."""
    before = int(get_gdal_config("GDAL_CACHEMAX"))
    set_gdal_config("GDAL_CACHEMAX", min(before, _BLOCKS))
    try:
        yield
    finally:
        set_gdal_config("GDAL_CACHEMAX", before)


def needs_warp(file: Any) -> bool:
    """Return whether a raster, opened by rasterio, has ground control points in place of a transform."""
    return bool(file.gcps[0]) and file.transform == Affine.identity()


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn what GDAL says of a damaged file into one line."""
    try:
        yield
    except RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise OSError(
            f"cannot read raster {path}: it is truncated, damaged or of an unknown format ({reason})"
        ) from error


def _own_gsd(source: Any, path: Path) -> float:
    own = _gsd_in_metres(source.transform, source.crs, source.width, source.height)
    if own is None:
        raise InputError(f"gsd: {path} has no CRS, so its own ground sampling distance is unknown; leave gsd out")
    return own


def _resampled(source: Any, factor: float) -> WarpedVRT:
    """The raster with pixels larger by a factor, computed as it is read."""
    width, height = (max(1, math.ceil(side / factor - 1e-6)) for side in (source.width, source.height))
    return WarpedVRT(
        source,
        crs=source.crs,
        transform=source.transform * Affine.scale(factor),
        width=width,
        height=height,
        resampling=Resampling.average if factor > 1 else Resampling.bilinear,
    )


def _gsd_in_metres(transform: Affine, crs: Any, width: int, height: int) -> float | None:
    """The root of a pixel's area in the middle of the raster, in metres."""
    if crs is None:
        return None
    if not crs.is_geographic:
        return math.sqrt(abs(transform.determinant)) * float(crs.linear_units_factor[1] if crs.is_projected else 1.0)
    x, y = width / 2, height / 2
    corners = [transform * point for point in ((x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1))]
    geod = CRS.from_user_input(crs).get_geod() or Geod(ellps="WGS84")
    area, _ = geod.polygon_area_perimeter([corner[0] for corner in corners], [corner[1] for corner in corners])
    return math.sqrt(abs(area))


def _palette(file: Any) -> np.ndarray | None:
    """(3, 256) uint8, the colours of a raster of palette indices; None if it is none."""
    if file.count > 2 or file.colorinterp[0] != ColorInterp.palette or file.dtypes[0] != "uint8":
        return None
    colours = np.zeros((3, 256), np.uint8)
    for index, colour in file.colormap(1).items():
        colours[:, index] = colour[:3]
    return colours


def _band_numbers(file: Any, bands: Sequence[int | str] | str | None) -> tuple[int, ...]:
    """The numbers of the chosen bands."""
    if bands is None:
        kinds = file.colorinterp
        if all(kind in kinds for kind in _RGB):
            return tuple(kinds.index(kind) + 1 for kind in _RGB)
        colours = [number for number, kind in enumerate(kinds, 1) if kind != ColorInterp.alpha]
        if not colours:
            raise InputError(f"{file.name}: holds an alpha band only")
        if len(colours) > 3:
            _logger.warning(
                f"{file.name}: shows bands 1, 2, 3 of {len(colours)} as red, green, blue; choose with bands"
            )
        return tuple(colours[:3] if len(colours) >= 3 else colours[:1])
    chosen = check_bands(bands)
    names = {name: number for number, name in enumerate(file.descriptions, 1) if name}
    return tuple(_band_number(band, names, file) for band in chosen)


def _band_number(band: int | str, names: dict[str, int], file: Any) -> int:
    name = str(band).strip()
    named = names.get(name) if isinstance(band, str) else None  # the integer 3 is not the band named "3"
    number = named or (int(name) if name.isdecimal() else 0)
    if not 1 <= number <= file.count:
        known = f" or {', '.join(list(names)[:20])}" if names else ""
        numbers = f"numbers from 1 to {file.count}" if file.count > 1 else "the number 1"
        raise InputError(f"bands: expected {numbers}{known}, as {file.name} has them, got {name!r:.40}")
    return number
