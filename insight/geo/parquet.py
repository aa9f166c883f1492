"""GeoParquet, written a batch at a time. GDAL's wheels have no driver for it."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pyproj
import shapely

_BOUNDS = ("xmin", "ymin", "xmax", "ymax")
_TYPES = {3: "Polygon", 6: "MultiPolygon"}  # by shapely.GeometryType


class GeoParquetWriter:
    """Write a GeoParquet file (version 1.1) of polygons, as a context manager.

    Every row has the bounds of its polygon in the column "bbox", by which readers skip what lies elsewhere.

    Args:
        path: the file.
        schema: columns of the batches; "geometry" is WKB.
        crs: CRS of the coordinates; None if they have none.
    """

    def __init__(self, path: str | os.PathLike, schema: pa.Schema, crs: pyproj.CRS | None):
        self._crs = crs
        bounds = pa.field("bbox", pa.struct([(name, pa.float64()) for name in _BOUNDS]))
        self._schema = pa.schema([*(field.remove_metadata() for field in schema), bounds])
        self._writer = pyarrow.parquet.ParquetWriter(os.fspath(path), self._schema, compression="zstd")
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._types: set[int] = set()

    def __enter__(self) -> "GeoParquetWriter":
        return self

    def __exit__(self, *_) -> None:
        column = {
            "encoding": "WKB",
            "geometry_types": [_TYPES[number] for number in sorted(self._types)],
            "crs": None if self._crs is None else self._crs.to_json_dict(),
            "covering": {"bbox": {name: ["bbox", name] for name in _BOUNDS}},
        }
        if np.isfinite(self._bounds).all():
            column["bbox"] = self._bounds.tolist()
        content = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        self._writer.add_key_value_metadata({"geo": json.dumps(content)})
        self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows as one row group."""
        polygons = shapely.from_wkb(batch.column("geometry").to_numpy(zero_copy_only=False))
        bounds = shapely.bounds(polygons).reshape(-1, 4)
        known = ~shapely.is_missing(polygons)
        self._types.update(shapely.get_type_id(polygons[known]).tolist())
        if known.any():
            self._bounds[:2] = np.minimum(self._bounds[:2], bounds[known, :2].min(0))
            self._bounds[2:] = np.maximum(self._bounds[2:], bounds[known, 2:].max(0))
        parts = [pa.array(values, pa.float64()) for values in bounds.T]
        boxes = pa.StructArray.from_arrays(parts, list(_BOUNDS), mask=pa.array(~known))
        self._writer.write_batch(pa.RecordBatch.from_arrays([*batch.columns, boxes], schema=self._schema))
