"""The QGIS plugin in QGIS, without a screen: `qgis_process` and the map tool against a real server."""

import io
import json
import os
import shutil
import subprocess
import threading
import zipfile
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("geopandas")
import geopandas
import pyproj
import shapely
from affine import Affine
from helpers.bright import components
from helpers.rasters import ROTATED, write
from helpers.servers import running
from PIL import Image

from insight.data.scenes import draw_scene
from insight.geo.features import COLUMNS, feature_table
from insight.geo.polygons import transform_polygons
from insight.geo.predict import predict_raster
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.structures.oriented_boxes import oriented_corners
from insight.version import __version__

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef"
# Debian's wrapper passes an option that qgis_process does not know.
QGIS_PROCESS = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
needs_qgis = pytest.mark.skipif(QGIS_PROCESS is None, reason="needs QGIS 3.22 or later: apt-get install qgis")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The zip that users install."""
    path = tmp_path_factory.mktemp("zip") / "insight_masks.zip"
    subprocess.run(["python3", ROOT / "scripts" / "build_qgis_plugin.py", path], check=True, capture_output=True)
    return path


def test_the_archive_holds_the_plugin_and_nothing_else(archive):
    with zipfile.ZipFile(archive) as file:
        names = {Path(name).name: file.read(name) for name in file.namelist()}
        assert {Path(name).parent.name for name in file.namelist()} == {"insight_masks"}
    assert {"metadata.txt", "LICENSE", "icon.svg", "__init__.py"} <= names.keys()
    assert names["LICENSE"] == (ROOT / "LICENSE").read_bytes()
    stated = dict(line.split("=", 1) for line in names["metadata.txt"].decode().splitlines()[1:])
    assert stated["version"] == __version__ and stated["hasProcessingProvider"] == "yes"
    assert not any(b"import torch" in text or b"import numpy" in text for text in names.values())


@pytest.fixture(scope="module")
def qgis(archive, tmp_path_factory):
    """Runs qgis_process with the installed archive and a profile of its own."""
    folder = tmp_path_factory.mktemp("qgis")
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder / "plugins")
    (folder / "run").mkdir(mode=0o700)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "QGIS_PLUGINPATH": str(folder / "plugins"),
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile"),
    }

    def run(*words, **more):
        return subprocess.run(
            list(map(str, words)), env={**environment, **more}, capture_output=True, text=True, timeout=300
        )

    run(QGIS_PROCESS, "plugins", "enable", "insight_masks")
    return run


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A drawn harbour as a GeoTIFF that is rotated on its map, and a layer of eight rotated boxes in degrees."""
    folder = tmp_path_factory.mktemp("scene")
    drawn = draw_scene(seed=7, size=(320, 320), kind="harbour")
    write(folder / "scene.tif", drawn.image)
    largest = sorted(drawn.instances, key=lambda one: -one.mask.sum())[:8]
    corners = oriented_corners([one.oriented_box for one in largest]).double().numpy()
    polygons = [*transform_polygons(shapely.polygons(corners), ROTATED), shapely.box(400000, 4e6, 400010, 4e6 + 10)]
    layer = geopandas.GeoDataFrame({"berth": [*"abcdefghi"], "score": 0.25}, geometry=polygons, crs=32632)
    layer.to_crs(4326).to_file(folder / "boxes.gpkg")
    return folder / "scene.tif", folder / "boxes.gpkg"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of a server of the shipped model."""
    with running(tmp_path_factory.mktemp("log") / "log", "sopseg-vit-t", token=TOKEN) as (_, address):
        yield address


def masks_from_boxes(qgis, raster, boxes, output, *more, **environment):
    words = (f"RASTER={raster}", f"BOXES={boxes}", f"OUTPUT={output}", *more)
    return qgis(QGIS_PROCESS, "run", "insight:masks_from_boxes", "--", *words, **environment)


@needs_qgis
def test_masks_from_boxes_are_insights(qgis, scene, server, tmp_path):
    output = tmp_path / "masks.gpkg"
    done = masks_from_boxes(qgis, *scene, output, INSIGHT_URL=server, INSIGHT_TOKEN=TOKEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out 1 box without area or outside the raster" in done.stdout + done.stderr
    found = geopandas.read_file(output)
    expected = predict_raster(scene[0], SOPSegPredictor.from_pretrained(device="cpu"), prompts=scene[1])
    assert list(found.columns) == list(expected.columns) == [*COLUMNS, "berth", "prompt_score", "geometry"]
    assert found.crs.to_epsg() == 32632 and list(found.berth) == list(expected.berth) == [*"abcdefgh"]
    assert found.is_valid.all()
    for ours, theirs in zip(found.geometry, expected.geometry):
        assert ours.symmetric_difference(theirs).area <= 3 * abs(ROTATED.determinant)  # single pixels, by rounding
    np.testing.assert_allclose(found.score, expected.score, atol=2e-5)
    measured = feature_table(
        list(found.geometry), found.crs, class_ids=found.class_id, categories=["object"], scores=found.score
    )
    for name in ("area_m2", "angle", "length_m", "width_m"):
        np.testing.assert_allclose(found[name], measured[name], atol=0.011)


@needs_qgis
def test_what_goes_wrong_is_one_sentence(qgis, scene, server, tmp_path):
    output = tmp_path / "masks.gpkg"
    refused = masks_from_boxes(qgis, *scene, output, INSIGHT_URL=server, INSIGHT_TOKEN="wrong")
    gone = masks_from_boxes(qgis, *scene, output, INSIGHT_URL="http://127.0.0.1:9")
    unknown = masks_from_boxes(qgis, *scene, output, "MODEL=other", INSIGHT_URL=server, INSIGHT_TOKEN=TOKEN)
    assert "answers 401: a token is needed, or it is wrong" in refused.stderr
    assert "http://127.0.0.1:9 does not answer" in gone.stderr
    assert "answers 404: model: unknown; this server has sopseg-vit-t" in unknown.stderr
    assert all(done.returncode and "Traceback" not in done.stderr for done in (refused, gone, unknown))


@pytest.fixture
def bright_server():
    """A server that finds the bright parts of a picture; yields its address and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parts = {
                part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                for part in BytesParser().parsebytes(head + body).get_payload()
            }
            picture = np.asarray(Image.open(io.BytesIO(parts["image"])))
            asked.append((picture.shape, json.loads(parts["request"])))
            instances = [
                {
                    "class": "tank" if x1 - x0 > 20 else "car",
                    "score": 0.75,
                    "box": [x0, y0, x1, y1],
                    "polygons": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]],
                }
                for (x0, y0, x1, y1), _ in components(picture[..., 0] > 128)
            ]
            data = json.dumps({"instances": instances}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    httpd.server_close()


@needs_qgis
def test_objects_are_found_with_the_contrast_of_the_layer(qgis, bright_server, tmp_path):
    address, asked = bright_server
    image = np.full((300, 400), 300, np.uint16)
    boxes = [(10, 20, 40, 30), (100, 200, 160, 260), (390, 5, 400, 15), (210, 100, 220, 140)]
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = 3000
    place = Affine(1e-5, 0, 9.0, 0, -1e-5, 44.0)
    write(tmp_path / "scene.tif", image, crs="EPSG:4326", transform=place)
    whole, part = tmp_path / "whole.gpkg", tmp_path / "part.gpkg"
    run = (QGIS_PROCESS, "run", "insight:find_objects", "--", f"RASTER={tmp_path / 'scene.tif'}")
    for words in ((f"OUTPUT={whole}",), (f"OUTPUT={part}", "EXTENT=9.0,9.002,43.997,44.0 [EPSG:4326]", "SIMPLIFY=1.5")):
        done = qgis(*run, *words, INSIGHT_URL=address)
        assert done.returncode == 0, done.stdout + done.stderr
    assert asked == [
        ((300, 400, 3), {"format": "polygons", "simplify": 0.0}),
        ((300, 200, 3), {"format": "polygons", "simplify": 1.5}),
    ]
    found = geopandas.read_file(whole)
    assert list(found.columns) == [*COLUMNS, "geometry"] and found.crs.to_epsg() == 4326
    expected = list(transform_polygons(shapely.box(*np.array(boxes, float).T), place))
    geod = pyproj.Geod(ellps="WGS84")
    for polygon, (x0, _, x1, _) in zip(expected, boxes):
        [row] = [row for row in found.itertuples() if row.geometry.intersects(polygon.centroid)]
        assert row.geometry.symmetric_difference(polygon).area < 1e-6 * polygon.area
        assert (row.class_name, row.class_id) == (("tank", 1) if x1 - x0 > 20 else ("car", 0))
        assert row.area_m2 == pytest.approx(abs(geod.geometry_area_perimeter(polygon)[0]), rel=1e-4)
    assert len(found) == 4 and len(geopandas.read_file(part)) == 2


@needs_qgis
def test_a_rotated_box_that_is_drawn_gets_its_mask(qgis, scene, server):
    python = Path(QGIS_PROCESS).parent / "python3"
    if qgis(python, "-c", "import qgis.core").returncode:
        pytest.skip("needs QGIS's Python: apt-get install python3-qgis")
    place = geopandas.read_file(scene[1]).to_crs(32632).geometry[0]
    a, b, c, _ = shapely.get_coordinates(place)[:4]
    script = Path(__file__).parent / "qgis_map_tool.py"
    clicks = [f"{x},{y}" for x, y in (a, b, c)]
    done = qgis(python, script, scene[0], *clicks, INSIGHT_URL=server, INSIGHT_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout.splitlines()[-1])
    box = shapely.from_wkt(content["box"])
    assert box.symmetric_difference(place).area < 0.02 * place.area and content["crs"] == "EPSG:32632"
    expected = predict_raster(
        scene[0],
        SOPSegPredictor.from_pretrained(device="cpu"),
        oriented_boxes=shapely.get_coordinates(transform_polygons(np.array([box]), ~ROTATED))[None, :4],
    )
    assert [row["instance_id"] for row in content["masks"]] == [1, 2] and content["told"] == []
    for row in content["masks"]:
        difference = shapely.from_wkt(row["wkt"]).symmetric_difference(expected.geometry[0]).area
        assert difference <= 3 * abs(ROTATED.determinant)
