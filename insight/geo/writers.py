"""Write vector layers batch by batch, in memory that does not grow, to files that are only ever whole."""

import contextlib
import glob
import json
import logging
import os
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas
import pyarrow as pa
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyogrio.raw import write_arrow

from insight.errors import InputError
from insight.runtime.atomic_files import remove_left, temporary_folder
from insight.runtime.outputs import check_output_file

from .features import ground_boxes, parse_crs
from .layers import OBJECTS, ORIENTED_BOXES
from .parquet import GeoParquetWriter

_ROWS = (
    4096  # a batch in the files, however many rows a call of `write` has, so that the bytes depend on the rows alone
)
_FULL = 2**20  # bytes; a disk with fewer left counts as full
_DATE = "1970-01-01T00:00:00.000Z"  # in place of the time of writing
_GDAL_ERRORS = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError)
# Files that belong to a shapefile or a GeoPackage of the same name.
_SIDE_FILES = {
    ".shp": (".dbf", ".shx", ".prj", ".cpg", ".qix", ".sbn", ".sbx"),
    ".gpkg": (".gpkg-wal", ".gpkg-shm", ".gpkg-journal"),
}

_logger = logging.getLogger(__name__)


class _Format(NamedTuple):
    """A file format: GDAL's driver, and the options and geometry type of its layers."""

    driver: str
    options: dict[str, str] = {}
    multi: bool = True  # every polygon becomes a MultiPolygon, as the format has one type a layer


_FORMATS = {
    ".gpkg": _Format("GPKG"),
    ".geojson": _Format("GeoJSON", multi=False),
    ".fgb": _Format("FlatGeobuf"),
    ".parquet": _Format("Parquet", multi=False),
    ".shp": _Format("ESRI Shapefile", {"DBF_DATE_LAST_UPDATE": _DATE[:10], "ENCODING": "UTF-8"}),
}
SUFFIXES = tuple(_FORMATS)
_LONGITUDES = {"RFC7946": "YES", "COORDINATE_PRECISION": "8"}  # of GeoJSON in degrees; 8 digits are a millimetre


class Writer:
    """Write a layer of objects, and one of the oriented boxes around them, to a vector file.

    Rows wait in a temporary folder beside the file; `close` writes them in the file's format and moves it to its name,
    so that the name only ever has a whole file. The same rows give the same bytes.

    As a context manager it closes at the end of the block, and discards the rows if the block raises.

    Args:
        path: the file; its suffix chooses the format: `.gpkg` (layers "objects" and "oriented_boxes"), `.fgb`,
            `.parquet` (GeoParquet), `.shp`, in the CRS of the rows, or `.geojson` in EPSG:4326 (RFC 7946). Formats
            other than GeoPackage get the oriented boxes in a second file, NAME_oriented_boxes.SUFFIX. It replaces an
            existing file.
        crs: CRS of the rows in any form that pyproj takes; None if they are in pixels.
        oriented_boxes: whether to write them.

    Raises:
        InputError: an unknown suffix or CRS, or GDAL was built without the format's driver.
        OSError: the file cannot be written, or another program has it open for writing.
    """

    def __init__(self, path: str | os.PathLike, crs: Any, *, oriented_boxes: bool = True):
        self.path = check_output_file(path, suffixes=SUFFIXES)
        self._format = _format_of(self.path)
        self._crs = parse_crs(crs)
        self._with_boxes = oriented_boxes
        require_unlocked(self.path)
        if self.path.suffix.lower() == ".shp":
            _logger.warning(f"{path}: a shapefile cuts names of columns to 10 characters and holds at most 2 GB; "
                            "GeoPackage (.gpkg) does neither")  # fmt: skip
        if self._crs is None and self.path.suffix.lower() == ".geojson":
            _logger.warning(f"{path}: holds pixels where GeoJSON expects longitude and latitude, as there is no CRS")
        remove_left(self.path.parent, glob.escape(self.path.name))
        self._stack = contextlib.ExitStack()
        self._folder = self._stack.enter_context(temporary_folder(self.path))
        self._spool: pa.ipc.RecordBatchFileWriter | None = None
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.Table] = []
        self.rows = 0
        self._has_missing = False

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def write(self, table: geopandas.GeoDataFrame) -> None:
        """Add rows. The first call, which may have no rows, decides names and types of the columns.

        Args:
            table: polygons, None where there is none, with columns of numbers, text, times or truth values; other
                values are written as JSON text.

        Raises:
            InputError: the table has another CRS or other columns than before.
            OSError: the disk is full.
        """
        if table.crs is not None and self._crs is not None and parse_crs(table.crs) != self._crs:
            raise InputError(f"table: expected the CRS {self._crs.to_string()}, got {table.crs.to_string()}")
        rows = _to_arrow(table, self._schema)
        if self._schema is None:
            self._schema = rows.schema
            with self._naming_the_file():
                self._spool = pa.ipc.new_file(os.fspath(self._folder / "rows.arrow"), rows.schema)
        self._waiting.append(rows)
        self.rows += len(rows)
        self._has_missing |= rows.column("geometry").null_count > 0
        if sum(map(len, self._waiting)) >= _ROWS:
            self._flush(_ROWS)

    def close(self) -> None:
        """Write the file.

        Raises:
            OSError: the disk is full, another program has the file open for writing, or the format cannot hold the
                rows.
        """
        try:
            if self._schema is None:
                raise InputError(f"{self.path}: expected a table, at least one without rows, got none")
            self._flush(1)
            with self._naming_the_file():
                self._spool.close()  # type: ignore[union-attr]
                self._write_layers()
                self._publish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the rows without writing the file."""
        self._stack.close()

    def _flush(self, least: int) -> None:
        assert self._spool is not None
        waiting = pa.concat_tables(self._waiting)
        with self._naming_the_file():
            while len(waiting) >= least:
                self._spool.write_table(waiting.slice(0, _ROWS).combine_chunks(), _ROWS)
                waiting = waiting.slice(_ROWS)
        self._waiting = [waiting]

    def _write_layers(self) -> None:
        """Into the temporary folder, under the final names."""
        layers = [(self.path.name, OBJECTS, self._stream(boxes=False))]
        if self._with_boxes:
            in_one = self._format.driver == "GPKG"
            name = self.path.name if in_one else self.path.with_stem(f"{self.path.stem}_{ORIENTED_BOXES}").name
            layers.append((name, ORIENTED_BOXES, self._stream(boxes=True)))
        for number, (name, layer, batches) in enumerate(layers):
            path = self._folder / name
            if self._format.driver == "Parquet":
                with GeoParquetWriter(path, self._schema, self._crs) as writer:
                    for batch in batches:
                        writer.write(batch)
            else:
                self._write_by_gdal(path, layer, batches, append=number > 0 and name == self.path.name)
        (self._folder / "rows.arrow").unlink()

    def _write_by_gdal(self, path: Path, layer: str, batches: Iterator[pa.RecordBatch], append: bool) -> None:
        longitudes = self._format.driver == "GeoJSON" and self._crs is not None
        crs = None if self._crs is None else 4326 if longitudes else self._crs.to_epsg()
        text = f"EPSG:{crs}" if crs else None if self._crs is None else self._crs.to_wkt("WKT1_GDAL")
        one_file = self._format.driver != "ESRI Shapefile"
        options = self._format.options | (_LONGITUDES if longitudes else {})
        if self._format.driver == "FlatGeobuf" and self._has_missing:
            options["SPATIAL_INDEX"] = "NO"  # an index cannot have rows without a polygon
        with _fixed_date(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pyogrio: no CRS, names of columns that were cut
            write_arrow(
                pa.RecordBatchReader.from_batches(self._schema, batches),
                path,
                layer=layer if one_file else None,
                driver=self._format.driver,
                geometry_name="geometry",
                geometry_type=("MultiPolygon" if layer == OBJECTS else "Polygon") if self._format.multi else "Unknown",
                crs=text,
                append=append,
                layer_options=options,
            )
        _require_whole(path, layer if one_file else None, self.rows)

    def _stream(self, boxes: bool) -> Iterator[pa.RecordBatch]:
        """The rows of a layer, in batches."""
        with pa.memory_map(os.fspath(self._folder / "rows.arrow")) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                place = batch.schema.get_field_index("geometry")
                polygons = shapely.from_wkb(batch.column(place).to_numpy(zero_copy_only=False))
                if boxes:
                    polygons = ground_boxes(polygons, self._crs).polygons
                elif self._format.multi:
                    polygons = _to_multi(polygons)
                if self._format.driver == "GeoJSON" and self._crs is not None:
                    polygons = geopandas.GeoSeries(polygons, crs=self._crs).to_crs(4326).to_numpy()
                wkb = pa.array(shapely.to_wkb(polygons), pa.binary())
                yield pa.RecordBatch.from_arrays(
                    [wkb if i == place else column for i, column in enumerate(batch.columns)], schema=batch.schema
                )

    def _publish(self) -> None:
        """Move the files to their names: the main file last, so that it has what belongs to it."""
        suffix = self.path.suffix.lower()
        files = sorted(self._folder.iterdir(), key=lambda f: (f.name == self.path.name, f.suffix == suffix, f.name))
        for file in files:
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
        require_unlocked(self.path)
        if suffix in _SIDE_FILES:
            for file in files:
                if file.suffix == suffix:
                    target = self.path.with_name(file.name)
                    stale = [target.with_suffix(side) for side in _SIDE_FILES[suffix]]
                    for old in [target, *stale] if suffix == ".shp" else stale:
                        old.unlink(missing_ok=True)
        for file in files:
            os.replace(file, self.path.with_name(file.name))

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Turn errors of writing into one line that names the file."""
        try:
            yield
        except (OSError, pa.ArrowException, *_GDAL_ERRORS) as error:
            if shutil.disk_usage(self._folder).free < _FULL:
                raise OSError(f"{self.path}: no space left on the disk") from error
            if isinstance(error, OSError) and str(self.path) in str(error):
                raise
            reason = str(error).replace(os.fspath(self._folder), os.fspath(self.path.parent))
            raise OSError(f"{self.path}: cannot be written: {reason}") from error


def write_layer(path: str | os.PathLike, table: geopandas.GeoDataFrame, *, oriented_boxes: bool = True) -> None:
    """Write a table to a vector file.

    Args:
        path: the file, see `Writer`.
        table: polygons with attributes.
        oriented_boxes: whether to write the layer of oriented boxes too.

    Raises:
        InputError, OSError: as `Writer`.
    """
    with Writer(path, table.crs, oriented_boxes=oriented_boxes) as writer:
        writer.write(table)


def require_unlocked(path: Path) -> None:
    """Check that no other program has a GeoPackage open for writing.

    Args:
        path: a file of any format, which may not exist.

    Raises:
        OSError: it is locked.
    """
    if path.suffix.lower() != ".gpkg" or not path.is_file():
        return
    locked = f"{path}: another program has it open for writing; save and close its layers there, or choose another name"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            database.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise BlockingIOError(locked) from error
    except sqlite3.DatabaseError:  # no GeoPackage; it is replaced
        return
    if path.with_name(f"{path.name}-wal").exists():  # the last program that closes a database removes it
        raise BlockingIOError(locked)


def _format_of(path: Path) -> _Format:
    file_format = _FORMATS[path.suffix.lower()]
    if file_format.driver != "Parquet" and "w" not in pyogrio.list_drivers().get(file_format.driver, ""):
        raise InputError(
            f"{path}: GDAL was built without the driver {file_format.driver}; choose another of {', '.join(SUFFIXES)}"
        )
    return file_format


def _to_arrow(table: geopandas.GeoDataFrame, schema: pa.Schema | None) -> pa.Table:
    """The rows, with the geometry as WKB in the last column."""
    name = table.geometry.name
    columns = {str(key): _column(table[key]) for key in table.columns if key != name}
    columns["geometry"] = pa.array(shapely.to_wkb(table.geometry.to_numpy()), pa.binary())
    if schema is None:
        wkb = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
        fields = [wkb if key == "geometry" else pa.field(key, values.type) for key, values in columns.items()]
        return pa.table(list(columns.values()), schema=pa.schema(fields))
    if list(columns) != schema.names:
        raise InputError(f"table: expected the columns {', '.join(schema.names)}, got {', '.join(columns)}")
    try:
        return pa.table([values.cast(schema.field(key).type) for key, values in columns.items()], schema=schema)
    except pa.ArrowInvalid as error:
        raise InputError(f"table: a column has values of another type than before ({error})") from error


def _column(values: pandas.Series) -> pa.Array:
    """Of a type that every format can hold."""
    if values.dtype == object:
        nested = [isinstance(value, (dict, list, tuple, np.ndarray)) for value in values]
        if any(nested):
            texts = [json.dumps(v, default=_to_json) if is_nested else v for v, is_nested in zip(values, nested)]
            values = pandas.Series(texts, dtype=object)
    try:
        column = pa.array(values, from_pandas=True)
    except pa.ArrowException:  # values of several types, or of one that Arrow does not have
        texts = [v if isinstance(v, str) else json.dumps(v, default=_to_json) for v in values]
        column = pa.array(pandas.Series(texts, dtype=object).where(values.notna().to_numpy(), None), pa.string())
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    text = (pa.types.is_null, pa.types.is_large_string, pa.types.is_string_view)
    return column.cast(pa.string()) if any(is_kind(column.type) for is_kind in text) else column


def _to_json(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _to_multi(polygons: np.ndarray) -> np.ndarray:
    multi = polygons.copy()
    single = np.flatnonzero(shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON)
    multi[single] = shapely.multipolygons(polygons[single], indices=np.arange(len(single))) if len(single) else []
    return multi


def _require_whole(path: Path, layer: str | None, rows: int) -> None:
    """Check that the file has every row; some drivers ignore that a disk is full."""
    if path.suffix.lower() == ".geojson":
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 16))
            whole = file.read().rstrip().endswith(b"}")
    else:
        whole = pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"] == rows
    if not whole:
        raise OSError("some rows were not written")


@contextlib.contextmanager
def _fixed_date() -> Iterator[None]:
    """Let GDAL write a fixed date instead of the time."""
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
