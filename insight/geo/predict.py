"""Prediction on a whole raster: polygons on the map, independent of the tiles that it is read in."""

import logging
import math
import os
from pathlib import Path
from typing import Any, Unpack

import geopandas
import pandas

from insight.errors import InputError
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.runtime.outputs import check_output_file
from insight.structures.prompts import ParsedPrompts, parse_prompts

from .detect import TileDetection
from .engines import check_engine, open_engine
from .layers import CLASS_COLUMNS
from .options import RasterKeywords, RasterOptions
from .prompted import MagnifiedPrompts, TilePrompts
from .prompts import LayerPrompts, prompts_on
from .raster import Raster
from .scene_run import SceneRun
from .stretch import Rescale
from .tiles import TileGrid
from .work import Work
from .writers import SUFFIXES

_logger = logging.getLogger(__name__)


def predict_raster(
    raster: str | os.PathLike | Raster,
    model: Any,
    *,
    output: str | os.PathLike | None = None,
    workers: int = 1,
    engine: str = "local",
    address: str | None = None,
    **options: Unpack[RasterKeywords],
) -> geopandas.GeoDataFrame | None:
    """Detect the objects of a raster, or segment prompted ones, as polygons in its CRS.

    Reading, computing and keeping results overlap, and memory does not grow with the raster. With an `output`, results
    are kept in the folder `OUTPUT.unfinished` during the run. A run that was stopped at any point continues when it is
    started again with the same raster, model and settings, and its result has the same bytes.

    Without prompts, objects are detected in tiles. An object is taken from the tile whose core holds it; one that no
    tile shows whole is joined from its parts. SOPSeg segments each prompt in its own magnified crop, without tiles. A
    detector segments each box in the tile that shows it best.

    Args:
        raster: a file, or a `Raster`.
        model: a `PromptPredictor`, a `SOPSegPredictor`, or for detection any object with `class_names`, `set_image`
            and `detect`.
        output: vector file to write instead, see `Writer`. `OUTPUT.run.json`, next to it, records how it was made; its
            "rescale" can be given as `rescale` to another run.
        workers: number of processes that compute, each with one thread if there are several.
        engine: "local", or "ray" for the nodes of a Ray cluster, which must all reach the raster by its path.
        address: of the Ray cluster, such as "auto"; None to start one on this machine, unless Ray is initialised.
        options: the arguments of `RasterOptions`: prompts (`boxes`, `oriented_boxes`, `points` with `labels`, or the
            layer `prompts`) and their `attributes`, `tile_size` and `overlap`, `bands`, `rescale` and `gsd`, `simplify`
            and `regularize`.

    Returns:
        The objects with the columns of `feature_table`, or None if they were written to `output`. With prompts, a row
        for each in order, without geometry where a prompt got no mask.

    Raises:
        OSError: the raster cannot be read, or the output cannot be written.
        BlockingIOError: another run is writing to this output.
        InputError: an argument is invalid; the message names it.
        MissingDependencyError: Ray is not installed.
    """
    check_engine(engine, workers, address)
    if output is not None:
        check_output(output, raster.path if isinstance(raster, Raster) else raster)
    run = prepare(raster, model, RasterOptions(**options))
    with open_engine(engine, workers, address, is_on_gpu(model)) as run_jobs:
        if output is None:
            return run.to_table(run_jobs)
        run.to_file(Path(output), run_jobs)
    return None


def check_output(output: str | os.PathLike, raster: str | os.PathLike) -> None:
    """Check that the polygons of a raster can be written to a file.

    Args:
        output: the file.
        raster: the raster.

    Raises:
        OSError: it cannot be written.
        InputError: it is not a vector file, or it is the raster.
    """
    check_output_file(output, suffixes=SUFFIXES)
    if os.path.realpath(output) == os.path.realpath(raster):
        raise InputError(f"output: {output} is the raster; choose another name")


def prepare(raster: str | os.PathLike | Raster, model: Any, options: RasterOptions) -> SceneRun:
    """Open a raster and its prompts, and divide it into jobs.

    Args:
        raster, model: as in `predict_raster`.
        options: what to find, and how.

    Returns:
        The run, of which nothing has been done.

    Raises:
        OSError, InputError: as `predict_raster`.
    """
    if not isinstance(raster, Raster):
        raster = Raster(raster, options.bands, options.rescale, options.gsd)
        raster = suited(raster, model, options.rescale)
    elif not (options.bands is None and options.rescale is None and options.gsd is None):
        raise InputError("bands, rescale, gsd: belong to the Raster, which is given")
    prompts, attributes = prompts_of(raster, options)
    count = prompts.count if prompts.groups else 0
    if attributes is not None and len(attributes) != count:
        raise InputError(f"attributes: expected a row for each of {count} prompts, got {len(attributes)}")
    classes = None
    if attributes is not None and isinstance(model, SOPSegPredictor):
        classes, attributes = _classes_of(attributes, model)
    work = _work(raster, model, prompts, classes, options.tile_size, options.overlap)
    if raster.crs is None:
        _logger.warning(f"{raster.path}: has no CRS; the coordinates of the result are "
                        f"{'those of its world file' if raster.is_georeferenced else 'pixels'}")  # fmt: skip
    return SceneRun(work, options.simplify, options.regularize, attributes)


def suited(raster: Raster, model: Any, rescale: Rescale | None = None) -> Raster:
    """Return a raster at a ground sampling distance that suits a model.

    Args:
        raster: the raster; one that was opened with a `gsd` keeps it.
        model: the predictor. If it is a detector with the attribute `gsd`, smallest and largest of its training in
            metres per pixel, a raster outside of them is resampled to the nearer one, with a message.
        rescale: what the raster was opened with.

    Returns:
        The raster itself, or the resampled one.
    """
    trained = getattr(model, "gsd", None)
    if raster.gsd is not None or raster.gsd_m is None or not trained or isinstance(model, SOPSegPredictor):
        return raster
    nearest = min(max(raster.gsd_m, trained[0]), trained[1])
    if math.isclose(nearest, raster.gsd_m, rel_tol=0.01):
        return raster
    _logger.warning(
        f"{raster.path}: is resampled from {raster.gsd_m:.3g} to {nearest:.3g} m per pixel, as the model was trained "
        f"at {trained[0]:g} to {trained[1]:g}; gsd chooses otherwise"
    )
    return Raster(raster.path, raster.bands, rescale, nearest)


def is_on_gpu(model: Any) -> bool:
    """Return whether a predictor computes on a GPU."""
    parameters = getattr(getattr(model, "model", None), "parameters", None)
    return parameters is not None and any(parameter.is_cuda for parameter in parameters())


def prompts_of(raster: Raster, options: RasterOptions) -> tuple[ParsedPrompts, pandas.DataFrame | None]:
    """Read and check the prompts of a raster; this needs no model.

    Args:
        raster: the raster.
        options: the prompts among them are read.

    Returns:
        The prompts in pixels of the raster as it is read, and their attributes.

    Raises:
        OSError: the layer is missing.
        InputError: a prompt is invalid or lies outside the raster, or as `insight.geo.prompts.read_prompts`.
    """
    boxes, corners, points, labels = options.boxes, options.oriented_boxes, options.points, options.labels
    attributes = options.attributes
    if options.prompts is not None:
        given = options.prompts
        layer = given if isinstance(given, LayerPrompts) else prompts_on(raster, given)
        boxes, corners, points, labels, attributes = (
            layer.boxes, layer.corners, layer.points, layer.labels, layer.attributes
        )  # fmt: skip
    return parse_prompts(raster.file_size, boxes, corners, points, labels).scaled(raster.zoom), attributes


def _classes_of(attributes: pandas.DataFrame, model: Any) -> tuple[list[str] | None, pandas.DataFrame]:
    """The classes that attributes name, and the other attributes."""
    column = next((name for name in CLASS_COLUMNS if name in attributes.columns), None)
    if column is None:
        return None, attributes
    named = attributes[column].astype(object).where(attributes[column].notna(), model.class_names[0])
    return named.astype(str).tolist(), attributes.drop(columns="class_name", errors="ignore")


def _work(
    raster: Raster,
    model: Any,
    prompts: ParsedPrompts,
    classes: list[str] | None,
    tile_size: int,
    overlap: int | None,
) -> Work:
    if not prompts.groups:
        return TileDetection(raster, model, TileGrid(raster.size, tile_size, overlap))
    if isinstance(model, SOPSegPredictor):
        return MagnifiedPrompts(raster, model, prompts, classes)
    if overlap is None and prompts.boxes is not None and len(prompts.boxes):
        largest = float((prompts.boxes[:, 2:] - prompts.boxes[:, :2]).max())
        overlap = min(tile_size // 2, max(2, int(largest * 4 / 3) + 1))  # the margin is an eighth at either end
    return TilePrompts(raster, model, prompts, TileGrid(raster.size, tile_size, overlap))
