"""Prediction on a whole raster: polygons on the map, independent of the tiles that it is read in."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import pandas

from insight.errors import InputError
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.runtime.atomic_files import atomic_write
from insight.runtime.journal import Journal, settings_of
from insight.runtime.locks import output_folder
from insight.runtime.outputs import check_output_file
from insight.structures.prompts import ParsedPrompts, parse_prompts
from insight.version import __version__

from .arriving import Arriving
from .detect import TileDetection
from .engines import check_engine, run_jobs
from .features import feature_table
from .found import piece_polygons
from .polygons import transform_polygons
from .prompted import MagnifiedPrompts, TilePrompts
from .prompts import read_prompts
from .raster import Raster
from .stretch import Rescale
from .tiles import TileGrid
from .work import Found, Results, Work
from .writers import Writer, is_vector_file

UNFINISHED = ".unfinished"  # what the name of the folder of an unfinished run ends in
RUN = ".run.json"  # what the name of the file beside a result ends in

_logger = logging.getLogger(__name__)


def predict_raster(
    raster: str | os.PathLike | Raster,
    model: Any,
    *,
    boxes: Any = None,
    oriented_boxes: Any = None,
    points: Any = None,
    labels: Any = None,
    prompts: str | os.PathLike | None = None,
    attributes: pandas.DataFrame | None = None,
    tile_size: int = 1024,
    overlap: int | None = None,
    bands: Any = None,
    rescale: Rescale | None = None,
    gsd: float | None = None,
    simplify: float = 0.0,
    regularize: bool = False,
    output: str | os.PathLike | None = None,
    workers: int = 1,
    engine: str = "local",
    address: str | None = None,
) -> geopandas.GeoDataFrame | None:
    """Detect the objects of a raster, or segment prompted ones, as polygons in its CRS.

    Reading, computing and keeping results overlap, and memory does not grow with the raster. With an `output`, results
    are kept in the folder `OUTPUT.unfinished` while the run lasts. A run that was stopped anywhere goes on from there
    when it is started again with the same raster, model and settings, and its result has the same bytes.

    Without prompts, tiles are detected on. An object is taken from the tile whose core holds it; one that no tile shows
    whole is joined from its parts. SOPSeg answers each prompt from its own magnified crop, without tiles. A detector
    answers each box from the tile that shows it best.

    Args:
        raster: a file, or a `Raster`.
        model: a `PromptPredictor`, a `SOPSegPredictor`, or for detection any object with `class_names`, `set_image`
            and `detect`.
        boxes: (N, 4) XYXY in pixels of the raster, in any form that the predictors take.
        oriented_boxes: (M, 5), (M, 8) or (M, 4, 2), pixels, as the predictors take them; they follow `boxes`.
        points: (N, P, 2) XY in pixels, alone or with `boxes`. Alone, they are answered from a square of 1024 pixels
            around them.
        labels: (N, P), as the predictors take them.
        prompts: instead, a layer of polygons, oriented boxes or points in any CRS, see
            `insight.geo.prompts.read_prompts`; its attributes are carried over.
        attributes: a row for each of `boxes`, `oriented_boxes` or `points`, to be carried over to its polygon.
        tile_size: side of the tiles, pixels; rounded up to a multiple of 32.
        overlap: of neighbouring tiles, pixels; rounded up to a multiple of 64. None: 256 for detection, at most half a
            tile; with boxes for a detector, enough to show the largest box whole.
        bands, rescale, gsd: as `Raster` takes them, if `raster` is a file.
        simplify: how far an outline may move to have fewer corners, pixels; 0 keeps every step of a mask.
        regularize: straighten outlines, see `mask_polygons`.
        output: vector file to write instead, see `Writer`. Beside it, `OUTPUT.run.json` records how it was made; its
            "rescale" can be given as `rescale` to another run.
        workers: number of processes that compute, each with one thread if there are several.
        engine: "local", or "ray" for the nodes of a Ray cluster, which must all reach the raster by its path.
        address: of the Ray cluster, such as "auto"; None to start one on this machine, unless Ray is initialised.

    Returns:
        The objects with the columns of `feature_table`, or None if they were written to `output`. With prompts, a row
        for each in order, without geometry where a prompt got no mask.

    Raises:
        OSError: the raster cannot be read, or the output cannot be written.
        BlockingIOError: another run is writing to this output.
        InputError: an argument is invalid; the message names it.
        MissingDependencyError: Ray is not installed.
    """
    check_engine(engine, workers)
    if engine == "local" and workers > 1 and _is_on_gpu(model):
        raise InputError(f"workers: expected 1 for a model on a GPU, which processes cannot share so, got {workers}")
    if output is not None:
        check_output_file(output)
        if not is_vector_file(output):
            raise InputError(f"output: expected the name of a vector file such as found.gpkg, got {output}")
        if os.path.realpath(output) == os.path.realpath(raster.path if isinstance(raster, Raster) else raster):
            raise InputError(f"output: {output} is the raster; choose another name")
    if not isinstance(raster, Raster):
        raster = Raster(raster, bands, rescale, gsd)
    elif not (bands is None and rescale is None and gsd is None):
        raise InputError("bands, rescale, gsd: belong to the Raster, which is given")
    if prompts is not None:
        if any(given is not None for given in (boxes, oriented_boxes, points, labels, attributes)):
            raise InputError("prompts: a layer holds all prompts and attributes; give no others beside it")
        layer = read_prompts(prompts, raster.crs, raster.transform, raster.size, image_name=raster.path.name)
        boxes, oriented_boxes, points, labels = layer.boxes, layer.corners, layer.points, layer.labels
        attributes = layer.attributes
    parsed = parse_prompts(raster.size, boxes, oriented_boxes, points, labels)
    count = parsed.count if parsed.groups else 0
    if attributes is not None and len(attributes) != count:
        raise InputError(f"attributes: expected a row for each of {count} prompts, got {len(attributes)}")
    work = _work(raster, model, parsed, tile_size, overlap)
    if raster.crs is None:
        _logger.warning(f"{raster.path}: has no CRS; the coordinates of the result are "
                        f"{'those of its world file' if raster.is_georeferenced else 'pixels'}")  # fmt: skip
    shape: dict[str, Any] = {"simplify": simplify, "regularize": regularize, "attributes": attributes}
    if output is None:
        kept = _InMemory()
        run_jobs(work, kept, engine, workers, address)
        return _joined(list(_tables(work, kept, **shape)), work)
    with _journal(Path(output), work) as journal, Writer(output, raster.crs) as writer:
        results, objects = Arriving(journal), 0

        def write() -> None:
            nonlocal objects
            for table in _tables(work, results, **shape):
                writer.write(table)
                objects += len(table)

        with results.used_by(write):
            run_jobs(work, results, engine, workers, address)
        if not objects:
            writer.write(_joined([], work))
        _write_run(Path(output), work, objects)
    _logger.info(f"wrote {objects} objects to {output}")
    return None


class _InMemory(dict):
    """Results of jobs, not kept."""

    add = dict.__setitem__


def _is_on_gpu(model: Any) -> bool:
    parameters = getattr(getattr(model, "model", None), "parameters", None)
    return parameters is not None and any(parameter.is_cuda for parameter in parameters())


def _work(raster: Raster, model: Any, prompts: ParsedPrompts, tile_size: int, overlap: int | None) -> Work:
    if not prompts.groups:
        return TileDetection(raster, model, TileGrid(raster.size, tile_size, overlap))
    if isinstance(model, SOPSegPredictor):
        return MagnifiedPrompts(raster, model, prompts)
    if overlap is None and prompts.boxes is not None and len(prompts.boxes):
        largest = float((prompts.boxes[:, 2:] - prompts.boxes[:, :2]).max())
        overlap = min(tile_size // 2, max(2, int(largest * 4 / 3) + 1))  # the margin is an eighth at either end
    return TilePrompts(raster, model, prompts, TileGrid(raster.size, tile_size, overlap))


@contextmanager
def _journal(output: Path, work: Work) -> Iterator[Journal]:
    """The results so far of a run that no other process has in hand; removed when the block ends without an error.

    It must end after the output has its name: a kill in between then costs no results.
    """
    with output_folder(f"{output}{UNFINISHED}") as folder:
        path = folder / "journal"
        settings = {
            "insight": __version__,
            "raster": work.raster.content_digest(),
            **work.raster.settings,
            **work.settings,
        }
        before = settings_of(path)
        if before is not None and before != json.loads(json.dumps(settings)):
            changed = [key for key in settings if before.get(key) != json.loads(json.dumps(settings[key]))]
            _logger.warning(f"{output}: begins anew; changed since the run that was stopped: {', '.join(changed)}")
        yield Journal(path, settings)
        path.unlink()


def _tables(
    work: Work, results: Results, *, simplify: float, regularize: bool, attributes: pandas.DataFrame | None
) -> Iterator[geopandas.GeoDataFrame]:
    """The objects as tables, some at a time."""
    begun = without = 0
    for found in work.found(results):
        if not found.pieces:
            continue
        polygons = piece_polygons(found.pieces, simplify, regularize)
        without += sum(piece is None for piece in found.pieces)
        yield feature_table(
            transform_polygons(polygons, work.raster.transform),
            work.raster.crs,
            class_ids=found.class_ids,
            categories=work.categories,
            scores=found.scores,
            instance_ids=range(begun + 1, begun + 1 + len(polygons)),
            attributes=_rows(attributes, found),
        )
        begun += len(polygons)
    if without:
        _logger.warning(f"{without} of {begun} prompts got no mask; their rows have no geometry")


def _rows(attributes: pandas.DataFrame | None, found: Found) -> pandas.DataFrame | None:
    return None if attributes is None or found.prompts is None else attributes.iloc[found.prompts]


def _joined(tables: list[geopandas.GeoDataFrame], work: Work) -> geopandas.GeoDataFrame:
    if not tables:
        return feature_table([], work.raster.crs, class_ids=[], categories=work.categories, scores=[])
    return pandas.concat(tables, ignore_index=True)


def _write_run(output: Path, work: Work, objects: int) -> None:
    """Record how a result was made."""
    raster = work.raster
    record = {
        "insight": __version__,
        "raster": raster.path.name,
        "size": list(raster.size),
        "gsd_m": raster.gsd_m,
        **raster.settings,
        **work.settings,
        "objects": objects,
    }
    with atomic_write(f"{output}{RUN}") as file:
        json.dump(record, file, indent=1)
