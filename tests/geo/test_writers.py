import contextlib
import functools
import json
import logging
import sqlite3
import subprocess
import sys
import tracemalloc
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pyarrow.parquet
import pyogrio
import pytest
import shapely

from insight.errors import InputError
from insight.geo.features import COLUMNS, feature_table
from insight.geo.writers import SUFFIXES, Writer, write_layer

UTM = "EPSG:32631"


def _table(count: int, crs=UTM, seed: int = 0, first: int = 1, **more) -> geopandas.GeoDataFrame:
    """Squares with a hole, pairs of triangles, and, every tenth, nothing."""
    rng = np.random.default_rng((seed, first))
    polygons = []
    for i, (x, y) in enumerate(rng.uniform(0, 5000, (count, 2)) + (480_000, 5_700_000)):
        if i % 10 == 9:
            polygons.append(shapely.Polygon())
        elif i % 3 == 2:
            triangle = shapely.Polygon([(x, y), (x + 20, y), (x, y + 30)])
            polygons.append(shapely.union(triangle, shapely.affinity.translate(triangle, 100, 40)))
        else:
            polygons.append(shapely.box(x, y, x + 30, y + 12) - shapely.box(x + 5, y + 3, x + 9, y + 8))
    return feature_table(
        polygons,
        crs,
        class_ids=rng.integers(0, 2, count),
        categories=["ship", "Öltank"],
        scores=rng.random(count),
        instance_ids=range(first, first + count),
        **more,
    )


@functools.cache
def _many() -> geopandas.GeoDataFrame:
    """More rows than a batch has."""
    return _table(4200)


def _read(path: Path, layer: str = "objects") -> geopandas.GeoDataFrame:
    """By geopandas: GDAL, or pyarrow for Parquet."""
    if path.suffix != ".gpkg" and layer == "oriented_boxes":
        path = path.with_stem(f"{path.stem}_oriented_boxes")
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    return geopandas.read_file(path, layer=layer if path.suffix == ".gpkg" else None)


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_format_reads_back_by_its_library(tmp_path, suffix):
    path, table = tmp_path / f"found{suffix}", _table(50)
    write_layer(path, table)
    found, boxes = (_read(path, layer).sort_values("instance_i" if suffix == ".shp" else "instance_id")
                    .reset_index(drop=True) for layer in ("objects", "oriented_boxes"))  # fmt: skip
    names = [name[:10] for name in COLUMNS] if suffix == ".shp" else [*COLUMNS]
    assert [*found.columns] == [*boxes.columns] == [*names, "geometry"]
    for name, column in zip(names, COLUMNS):
        if column == "class_name":
            assert found[name].tolist() == table[column].tolist()
        else:
            np.testing.assert_allclose(found[name].astype(float), table[column], rtol=1e-9)
    assert found.crs.equals("EPSG:4326" if suffix == ".geojson" else UTM)
    there = found.geometry.to_crs(UTM)
    missing = table.geometry.isna()
    assert there.isna().tolist() == boxes.geometry.isna().tolist() == missing.tolist()
    moved = there[~missing].hausdorff_distance(table.geometry[~missing])
    assert moved.max() < (2e-3 if suffix == ".geojson" else 1e-9)
    assert there[~missing].is_valid.all()
    assert boxes.geometry.to_crs(UTM)[~missing].buffer(0.01).covers(there[~missing]).all()
    np.testing.assert_allclose(
        boxes.geometry.to_crs(UTM)[~missing].area, (table.length_m * table.width_m)[~missing] * 0.9996**2, rtol=2e-3
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_depend_on_the_rows_alone(tmp_path, suffix):
    """Not on the time, nor on how the rows are divided among calls."""
    whole = _many()
    for folder, cuts in (("a", [4200]), ("b", [1, 700, 4100, 4200])):
        (tmp_path / folder).mkdir()
        with Writer(tmp_path / folder / f"found{suffix}", UTM) as writer:
            for start, end in zip([0, *cuts], cuts):
                writer.write(whole.iloc[start:end])
        if folder == "a":
            subprocess.run(["sleep", "1.1"])
    first, second = _files(tmp_path / "a"), _files(tmp_path / "b")
    assert first == second and len(_read(tmp_path / "a" / f"found{suffix}")) == 4200


def test_geojson_follows_its_standard(tmp_path):
    path = tmp_path / "found.geojson"
    write_layer(path, _table(8))
    content = json.loads(path.read_text())
    assert "crs" not in content and content["type"] == "FeatureCollection"
    for feature in content["features"]:
        for polygon in shapely.get_parts(shapely.geometry.shape(feature["geometry"])):
            assert polygon.exterior.is_ccw and not any(hole.is_ccw for hole in polygon.interiors)
            assert shapely.box(2, 51, 4, 52).covers(polygon)


def test_parquet_metadata(tmp_path):
    path, table = tmp_path / "found.parquet", _many()
    write_layer(path, table)
    column = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"geo"])["columns"]["geometry"]
    assert column["geometry_types"] == ["Polygon", "MultiPolygon"] and column["crs"]["id"]["code"] == 32631
    np.testing.assert_allclose(column["bbox"], table.total_bounds)
    assert pyarrow.parquet.ParquetFile(path).num_row_groups == 2
    window = (480_000, 5_700_000, 481_000, 5_701_000)
    part = geopandas.read_parquet(path, bbox=window)
    assert set(part.instance_id) == set(table.instance_id[table.geometry.intersects(shapely.box(*window))])


def test_attributes_of_any_kind(tmp_path):
    attributes = pandas.DataFrame({
        "berth": ["a", None, "ü"],
        "built": pandas.to_datetime(["2020-01-01", None, "2021-05-06"]),
        "nothing": [None] * 3,
        "tags": [{"a": 1}, None, {"b": [2]}],
        "kind": pandas.Categorical(["x", "y", "x"]),
        "number": [1.5, np.nan, 3],
    })  # fmt: skip
    for suffix in (".gpkg", ".fgb", ".parquet", ".geojson"):
        path = tmp_path / f"found{suffix}"
        write_layer(path, _table(3, attributes=attributes))
        found = _read(path).sort_values("instance_id").reset_index(drop=True)
        assert found.berth.fillna("none").tolist() == ["a", "none", "ü"] and found.kind.tolist() == ["x", "y", "x"]
        assert found.nothing.isna().all() and found.number.fillna(0).tolist() == [1.5, 0, 3]
        assert pandas.to_datetime(found.built).dt.year.fillna(0).tolist() == [2020, 0, 2021]
        tags = [v if isinstance(v, dict) else json.loads(v) for v in found.tags.dropna()]  # GDAL parses JSON in GeoJSON
        assert tags == [{"a": 1}, {"b": [2]}]


def test_attributes_of_several_types_become_text(tmp_path):
    table = _table(3, attributes=pandas.DataFrame({"note": ["a", 5, None]}))
    table["centre"] = table.geometry.centroid
    write_layer(tmp_path / "found.gpkg", table)
    found = _read(tmp_path / "found.gpkg").sort_values("instance_id")
    assert found.note.fillna("none").tolist() == ["a", "5", "none"]
    assert shapely.from_wkt(json.loads(found.centre.iloc[1])).equals_exact(table.centre[1], 1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_objects_give_a_layer_without_rows(tmp_path, suffix):
    write_layer(tmp_path / f"found{suffix}", _table(0))
    found = _read(tmp_path / f"found{suffix}")
    assert len(found) == 0
    assert "class_name" in found.columns or suffix == ".geojson"  # which has no columns without rows


def test_without_crs(tmp_path, caplog):
    for suffix in (".gpkg", ".parquet", ".fgb"):
        write_layer(tmp_path / f"found{suffix}", _table(5, crs=None))
        found = _read(tmp_path / f"found{suffix}")
        assert found.area_m2.isna().all() and found.total_bounds[0] > 480_000
    assert geopandas.read_parquet(tmp_path / "found.parquet").crs is None
    assert not caplog.records
    write_layer(tmp_path / "found.geojson", _table(5, crs=None))
    assert [r.getMessage() for r in caplog.records] == [
        f"{tmp_path}/found.geojson: holds pixels where GeoJSON expects longitude and latitude, as there is no CRS"
    ]


def test_file_appears_when_it_is_whole_and_an_error_keeps_the_old_one(tmp_path):
    path = tmp_path / "found.gpkg"
    write_layer(path, _table(3))
    old = path.read_bytes()
    with contextlib.suppress(ZeroDivisionError), Writer(path, UTM) as writer:
        writer.write(_table(6000))
        assert path.read_bytes() == old
        raise ZeroDivisionError
    assert _files(tmp_path) == {"found.gpkg": old}


def test_shapefile_replaces_its_side_files_and_says_its_limits(tmp_path, caplog):
    (tmp_path / "found.qix").write_text("an index of other rows")
    with caplog.at_level(logging.WARNING):
        write_layer(tmp_path / "found.shp", _table(3), oriented_boxes=False)
    assert {*_files(tmp_path)} == {f"found.{end}" for end in ("shp", "shx", "dbf", "prj", "cpg")}
    assert caplog.messages == [
        f"{tmp_path}/found.shp: a shapefile cuts names of columns to 10 characters and holds at most 2 GB; "
        "GeoPackage (.gpkg) does neither"
    ]


def test_memory_does_not_grow_with_the_rows(tmp_path):
    batch, peaks = _many().iloc[:4096], []
    for count in (2, 8):
        tracemalloc.start()
        with Writer(tmp_path / "found.fgb", UTM, oriented_boxes=False) as writer:
            for _ in range(count):
                writer.write(batch)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_wrong_arguments(tmp_path, monkeypatch):
    expected = r"output: expected a file name that ends in .gpkg, .geojson, .fgb, .parquet or .shp, got .*found.txt"
    with pytest.raises(InputError, match=expected):
        Writer(tmp_path / "found.txt", UTM)
    with pytest.raises(InputError, match="expected a file to write, but .* is a folder"):
        Writer(tmp_path, UTM)
    with pytest.raises(OSError, match="cannot write to /proc"):
        Writer("/proc/found.gpkg", UTM)
    with Writer(tmp_path / "found.gpkg", UTM) as writer:
        writer.write(_table(2))
        with pytest.raises(InputError, match="table: expected the CRS EPSG:32631, got EPSG:3857"):
            writer.write(_table(2).to_crs(3857))
        with pytest.raises(InputError, match="table: expected the columns .*, got .*berth"):
            writer.write(_table(2).assign(berth=1))
    monkeypatch.setattr(pyogrio, "list_drivers", lambda: {"GPKG": "rw"})
    with pytest.raises(InputError, match="found.fgb: GDAL was built without the driver FlatGeobuf; choose another"):
        Writer(tmp_path / "found.fgb", UTM)


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_locked_geopackage(tmp_path, mode):
    path = tmp_path / "found.gpkg"
    write_layer(path, _table(3))
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"PRAGMA journal_mode = {mode}")
    database.execute("BEGIN IMMEDIATE")
    before = path.read_bytes()
    with pytest.raises(OSError, match="found.gpkg: another program has it open for writing; save and close"):
        Writer(path, UTM)
    database.execute("ROLLBACK")
    database.close()
    assert path.read_bytes()[100:] == before[100:]
    write_layer(path, _table(4))
    assert len(_read(path)) == 4 and {*_files(tmp_path)} == {"found.gpkg"}


def test_disk_that_takes_no_more_bytes(tmp_path):
    """A limit on the size of files stands in for a full disk: writing fails in the same places."""
    _table(600).to_parquet(tmp_path / "table.parquet")
    script = """
import resource, sys
from pathlib import Path
import geopandas
from insight.geo.writers import SUFFIXES, write_layer
folder = Path(sys.argv[1])
table = geopandas.read_parquet(folder / "table.parquet")
for limit in (30_000, 110_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for suffix in SUFFIXES:
        try:
            write_layer(folder / str(limit) / f"found{suffix}", table)
        except OSError as error:
            print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for limit in (30_000, 110_000):
        for suffix in SUFFIXES:
            path = tmp_path / str(limit) / f"found{suffix}"
            failed = [line for line in lines if line.startswith(f"{path}: cannot be written: ")]
            assert len(failed) == (not path.exists()), (limit, suffix, lines)
            assert not failed or not [*path.parent.glob(f"*found*{suffix}*")]
            assert failed or len(_read(path)) == 600  # small enough, such as compressed Parquet
    assert len([line for line in lines if "/30000/" in line]) == len(SUFFIXES)
