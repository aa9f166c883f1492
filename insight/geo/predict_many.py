"""Prediction on many rasters, one vector file for each."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from insight.errors import InputError, InsightError
from insight.inference.files import names_of
from insight.runtime.file_names import with_name
from insight.runtime.notices import without_warnings
from insight.runtime.outputs import check_output_folder

from .companions import check_companions, have_companions, write_companions
from .engines import check_engine, open_engine
from .options import RasterKeywords, RasterOptions
from .predict import check_output, is_on_gpu, prepare, prompts_of
from .prompts import LiesElsewhereError
from .raster import Raster
from .writers import SUFFIXES

_logger = logging.getLogger(__name__)


class ManyRasters(NamedTuple):
    """What became of rasters.

    Attributes:
        written: the files that were written.
        already: vector files that an earlier run had written.
        elsewhere: rasters on which no prompt lies, which have no file.
        failures: the reason for each raster that could not be used.
    """

    written: list[Path]
    already: list[Path]
    elsewhere: list[Path]
    failures: dict[Path, str]


def predict_rasters(
    rasters: Sequence[str | os.PathLike],
    model: Any,
    output: str | os.PathLike,
    *,
    suffix: str = ".gpkg",
    workers: int = 1,
    engine: str = "local",
    address: str | None = None,
    also: Sequence[str] = (),
    **options: Unpack[RasterKeywords],
) -> ManyRasters:
    """Detect or segment the objects of many rasters, one after the other, all workers on each.

    Workers live as long as the run. A run that was stopped resumes where it left off: complete files are not made again
    if raster, model and settings are the same. A raster that cannot be used does not stop the others.

    Args:
        rasters: the files.
        model: as in `predict_raster`.
        output: folder of the results, NAME.SUFFIX for NAME.tif; rasters of the same name in several folders get theirs
            in sub-folders.
        suffix: of the vector files, see `Writer`.
        workers, engine, address: as in `predict_raster`.
        also: names of further files for each, see `insight.geo.companions.write_companions`.
        options: the arguments of `RasterOptions`, the same for all. A layer as `prompts` may span several rasters; each
            gets the prompts that lie on it.

    Returns:
        What was written, and what was not.

    Raises:
        InputError: a raster is given twice, an unknown suffix, or a layer lies on none of the rasters.
        MissingDependencyError: Ray is not installed.
    """
    check_engine(engine, workers, address)
    wanted = RasterOptions(**options)
    folder = check_output_folder(output)
    if suffix.lower() not in SUFFIXES:
        raise InputError(f"suffix: expected one of {', '.join(SUFFIXES)}, got {suffix!r}")
    outputs = output_names([Path(raster) for raster in rasters], folder, suffix)
    written: list[Path] = []
    already: list[Path] = []
    elsewhere: dict[Path, str] = {}
    failures: dict[Path, str] = {}
    with open_engine(engine, workers, address, is_on_gpu(model)) as run_jobs:
        for number, (path, target) in enumerate(outputs.items(), 1):
            try:
                check_output(target, path)
                run = prepare(path, model, wanted)
                check_companions(also, run.work.raster)
                if run.is_done(target):
                    already.append(target)
                    if have_companions(target, also):
                        continue
                else:
                    _logger.info(f"{path}: {number} of {len(outputs)} rasters")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    run.to_file(target, run_jobs)
                    written.append(target)
                written += write_companions(target, run.work.raster, also)
            except LiesElsewhereError as error:
                elsewhere[path] = str(error)
            except (OSError, InsightError) as error:
                failures[path] = with_name(path, str(error))
    if elsewhere and len(elsewhere) == len(outputs):
        raise InputError(next(iter(elsewhere.values())))
    if elsewhere:
        _logger.warning(f"{len(elsewhere)} of {len(outputs)} rasters have no prompts and no file")
    return ManyRasters(written, already, list(elsewhere), failures)


def check_rasters(rasters: Sequence[str | os.PathLike], options: RasterOptions, also: Sequence[str] = ()) -> None:
    """Check, before a model is loaded, that the options suit at least one raster.

    Args:
        rasters: the files; they are opened in turn, up to the first that can be used.
        options: as `predict_rasters` takes them.
        also: as `predict_rasters` takes it.

    Raises:
        InputError: none can be used; the message is that of the first on which the prompts lie, or of the first.
    """
    elsewhere: list[Exception] = []
    failures: list[Exception] = []
    for path in rasters:
        try:
            with without_warnings():  # they are logged when the raster is processed
                raster = Raster(path, options.bands, options.rescale, options.gsd)
                check_companions(also, raster)
                prompts_of(raster, options)
            return
        except LiesElsewhereError as error:
            elsewhere.append(error)
        except (OSError, InsightError) as error:
            failures.append(error)
    count = f"; none of the {len(rasters)} rasters can be used" if len(rasters) > 1 else ""
    raise InputError(f"{(failures or elsewhere)[0]}{count}")


def output_names(rasters: Sequence[Path], folder: Path, suffix: str) -> dict[Path, Path]:
    """Name the vector file of each raster.

    Args:
        rasters: the files.
        folder: folder of the results.
        suffix: of the vector files.

    Returns:
        Raster -> its vector file, no two the same.

    Raises:
        InputError: a raster is given twice.
    """
    names = {path: Path(name) for name, path in names_of(rasters).items()}
    stems = Counter(name.with_suffix("") for name in names.values())
    return {
        path: folder / (name.with_suffix(suffix) if stems[name.with_suffix("")] == 1 else f"{name}{suffix}")
        for path, name in names.items()
    }
