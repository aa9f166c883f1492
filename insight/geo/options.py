"""What a run over a raster finds, and how."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pandas

from insight.errors import InputError, MissingDependencyError

from .raster import check_bands, check_gsd
from .stretch import Rescale, parse_rescale
from .tiles import check_tiling

if TYPE_CHECKING:  # torch comes with it
    from .prompts import LayerPrompts

_PROMPTS = ("boxes", "oriented_boxes", "points", "labels", "attributes")


@dataclass(frozen=True, eq=False)
class RasterOptions:
    """The options of `predict_raster` and `predict_rasters`.

    Args:
        boxes: (N, 4) XYXY in pixels of the file, regardless of resampling, in any form that the predictors take.
        oriented_boxes: (M, 5), (M, 8) or (M, 4, 2), pixels, as the predictors take them; they follow `boxes`.
        points: (N, P, 2) XY in pixels, alone or with `boxes`. Alone, a square of 1024 pixels around them is used.
        labels: (N, P), as the predictors take them.
        prompts: instead, a layer of polygons, oriented boxes or points in any CRS, see
            `insight.geo.prompts.read_prompts`, or what `insight.geo.prompts.prompts_on` has read; its attributes are
            carried over.
        attributes: a row for each of `boxes`, `oriented_boxes` or `points`, to be carried over to its polygon. SOPSeg,
            which has no classes, gives polygons the classes in the column class_name, class, label or category.
        tile_size: side of the tiles, pixels; rounded up to a multiple of 64. Multiples of 256 change the results of a
            trained detector least.
        overlap: of neighbouring tiles, pixels; rounded up to a multiple of 64. None: 256 for detection, at most half a
            tile; with boxes for a detector, enough to show the largest box whole.
        bands, rescale, gsd: as `Raster` takes them, if the raster is a file. Without `gsd`, a file outside a detector's
            range (its `gsd`) is resampled to that range, with a message.
        simplify: how far an outline may move to have fewer corners, pixels; 0 keeps every step of a mask.
        regularize: straighten outlines, see `mask_polygons`.

    Raises:
        OSError: the file that `rescale` names cannot be read.
        InputError: `prompts` are given together with others, or an option is invalid for every raster.
        MissingDependencyError: as `check_outlines`.
    """

    boxes: Any = None
    oriented_boxes: Any = None
    points: Any = None
    labels: Any = None
    prompts: "str | os.PathLike | LayerPrompts | None" = None
    attributes: pandas.DataFrame | None = None
    tile_size: int = 1024
    overlap: int | None = None
    bands: Any = None
    rescale: Rescale | None = None
    gsd: float | None = None
    simplify: float = 0.0
    regularize: bool = False

    def __post_init__(self):
        if self.prompts is not None and any(getattr(self, name) is not None for name in _PROMPTS):
            raise InputError("prompts: a layer holds all prompts and attributes; give no others besides it")
        check_tiling(self.tile_size, self.overlap)
        if self.bands is not None:
            check_bands(self.bands)
        if self.rescale is not None:
            parse_rescale(self.rescale)
        check_gsd(self.gsd)
        check_outlines(self.simplify, self.regularize)


class RasterKeywords(TypedDict, total=False):
    """The arguments of `RasterOptions` as keywords of a function, which editors and type checkers show."""

    boxes: Any
    oriented_boxes: Any
    points: Any
    labels: Any
    prompts: "str | os.PathLike | LayerPrompts | None"
    attributes: pandas.DataFrame | None
    tile_size: int
    overlap: int | None
    bands: Any
    rescale: Rescale | None
    gsd: float | None
    simplify: float
    regularize: bool


def check_outlines(simplify: float, regularize: bool) -> None:
    """Check how outlines are to be changed.

    Args:
        simplify, regularize: as `mask_polygons` takes them.

    Raises:
        InputError: `simplify` is not a finite number of at least 0.
        MissingDependencyError: buildingregulariser, which `regularize` needs, is not installed.
    """
    if not np.isfinite(simplify) or simplify < 0:
        raise InputError(f"simplify: expected a number of pixels, at least 0, got {simplify}")
    if regularize:
        try:
            import buildingregulariser  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                "regularize: buildingregulariser is not installed; run `pip install 'insight-seg[geo]'`"
            ) from error
