"""A run over one scene: its jobs, their results so far, and the file that it ends in."""

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import pandas

from insight.runtime.atomic_files import atomic_write
from insight.runtime.digests import digest
from insight.runtime.journal import Journal, settings_of
from insight.runtime.json_values import parse_json
from insight.runtime.locks import output_folder
from insight.runtime.words import counted
from insight.version import __version__

from .arriving import Arriving
from .engines import Engine
from .features import feature_table
from .found import piece_polygons
from .polygons import transform_polygons
from .work import Found, Results, Work
from .writers import Writer

UNFINISHED = ".unfinished"  # what the name of the folder of an unfinished run ends in
RUN = ".run.json"  # what the name of the file beside a result ends in

_logger = logging.getLogger(__name__)


class _InMemory(dict):
    """Results of jobs, not kept."""

    add = dict.__setitem__


@dataclass(frozen=True)
class SceneRun:
    """The jobs of a scene, and how their results become polygons.

    Args:
        work: the jobs.
        simplify, regularize: as in `mask_polygons`.
        attributes: a row for each prompt, to be carried over; None without.
    """

    work: Work
    simplify: float = 0.0
    regularize: bool = False
    attributes: pandas.DataFrame | None = None

    def to_table(self, run_jobs: Engine) -> geopandas.GeoDataFrame:
        """Do the jobs and return the objects."""
        kept = _InMemory()
        run_jobs(self.work, kept)
        tables = list(self._tables(kept))
        return pandas.concat(tables, ignore_index=True) if tables else self._empty()

    def to_file(self, output: Path, run_jobs: Engine) -> int:
        """Do the jobs that no stopped run has done, and write the objects.

        Args:
            output: the vector file; results are kept in OUTPUT.unfinished while the run lasts.
            run_jobs: what does the jobs.

        Returns:
            The number of objects.

        Raises:
            OSError: the raster cannot be read, or the file cannot be written.
            BlockingIOError: another run is writing to this output.
        """
        with self._journal(output) as journal, Writer(output, self.work.raster.crs) as writer:
            results = Arriving(journal)

            def write() -> None:
                for table in self._tables(results):
                    writer.write(table)

            with results.used_by(write):
                run_jobs(self.work, results)
            if not writer.rows:
                writer.write(self._empty())
            with atomic_write(f"{output}{RUN}") as file:
                json.dump({**self.description(), "objects": writer.rows}, file, indent=1)
        _logger.info(f"wrote {counted(writer.rows, 'object')} to {output}")
        return writer.rows

    def is_done(self, output: Path) -> bool:
        """Return whether a run of the same scene, model and settings has written a file."""
        record = Path(f"{output}{RUN}")
        if not (output.is_file() and record.is_file()) or Path(f"{output}{UNFINISHED}", "journal").exists():
            return False
        before = parse_json(record.read_bytes(), str(record))
        return isinstance(before, dict) and before | {"objects": 0} == self.description() | {"objects": 0}

    def description(self) -> dict[str, Any]:
        """Describe all that the result depends on, as JSON values."""
        raster, settings = self.work.raster, self._settings()
        described = {
            **settings,
            "raster": raster.path.name,
            "content": settings["raster"],
            "size": raster.size,
            "gsd_m": raster.gsd_m,
            "simplify": self.simplify,
            "regularize": self.regularize,
            "attributes": None if self.attributes is None else digest(self.attributes.to_json().encode()),
        }
        return json.loads(json.dumps(described))

    def _settings(self) -> dict[str, Any]:
        """All that the results of the jobs depend on."""
        raster = self.work.raster
        settings = {"insight": __version__, "raster": raster.content_digest(), **raster.settings, **self.work.settings}
        return json.loads(json.dumps(settings))

    @contextlib.contextmanager
    def _journal(self, output: Path) -> Iterator[Journal]:
        """The results so far of a run that no other process has in hand; removed when the block ends without an error.

        It must end after the output has its name: a kill in between then costs no results.
        """
        with output_folder(f"{output}{UNFINISHED}") as folder:
            path, settings = folder / "journal", self._settings()
            before = settings_of(path)
            if before is not None and before != settings:
                changed = [key for key in settings if before.get(key) != settings[key]]
                _logger.warning(f"{output}: starts over; changed since the run that was stopped: {', '.join(changed)}")
            yield Journal(path, settings)
            path.unlink()

    def _tables(self, results: Results) -> Iterator[geopandas.GeoDataFrame]:
        """The objects as tables, some at a time."""
        raster = self.work.raster
        begun = without = 0
        for found in self.work.found(results):
            if not found.pieces:
                continue
            polygons = piece_polygons(found.pieces, self.simplify, self.regularize)
            without += sum(piece is None for piece in found.pieces)
            yield feature_table(
                transform_polygons(polygons, raster.transform),
                raster.crs,
                class_ids=found.class_ids,
                categories=self.work.categories,
                scores=found.scores,
                instance_ids=range(begun + 1, begun + 1 + len(polygons)),
                attributes=self._rows(found),
            )
            begun += len(polygons)
        if without:
            _logger.warning(f"{without} of {begun} prompts got no mask; their rows have no geometry")

    def _rows(self, found: Found) -> pandas.DataFrame | None:
        return None if self.attributes is None or found.prompts is None else self.attributes.iloc[found.prompts]

    def _empty(self) -> geopandas.GeoDataFrame:
        return feature_table([], self.work.raster.crs, class_ids=[], categories=self.work.categories, scores=[])
