"""The HTML map, as a browser shows it."""

import shutil

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from insight.errors import InputError
from insight.geo.features import feature_table
from insight.geo.map_page import write_map
from insight.geo.raster import Raster
from insight.geo.writers import write_layer

SIZE = (300, 400)  # height, width
TRANSFORM = Affine(0.5, 0, 480_000, 0, -0.5, 5_700_000)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "</script><script>window.hacked = 1</script><b>tank"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "scene.tif"
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": SIZE[0], "width": SIZE[1]}
    with rasterio.open(path, "w", crs="EPSG:32631", transform=TRANSFORM, **profile) as raster:
        pixels = np.full((3, *SIZE), 60, np.uint8)
        pixels[2, :, 200:] = 160
        raster.write(pixels)
    return path


def _layer(path, crs=4326):
    """A ship and one over it, a tank with a hole and a ship within the hole, and one outside the scene."""
    tank = shapely.box(150, 100, 250, 200) - shapely.box(180, 130, 220, 170)
    boxes = [shapely.box(20, 30, 80, 60), tank, shapely.box(190, 140, 210, 160), shapely.box(60, 40, 110, 80),
             shapely.box(900, 900, 950, 950)]  # fmt: skip
    polygons = [shapely.affinity.affine_transform(box, (*TRANSFORM[0:2], *TRANSFORM[3:5], TRANSFORM.c, TRANSFORM.f))
                for box in boxes]  # fmt: skip
    table = feature_table(
        polygons, 32631, class_ids=[0, 1, 0, 0, 0], categories=["ship", HOSTILE], scores=[0.9, 0.4, 0.6, 0.7, 0.5]
    )
    write_layer(path, table.to_crs(crs))
    return path


@pytest.fixture(scope="module")
def page(scene, tmp_path_factory):
    """The page in a browser of 1000 x 700 pixels; `requests` and `errors` are what it asked for and complained of."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("page")
    shown = write_map(_layer(folder / "found.gpkg"), Raster(scene), folder / "map.html", title="Port <1>")
    assert (shown.objects, shown.outside) == (4, 1)
    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=quiet)
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.requests, page.errors = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("console", lambda message: page.errors.append(message.text))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto((folder / "map.html").as_uri())
        page.wait_for_function("picture.complete && document.getElementById('count').textContent")
        page.wait_for_timeout(100)
        yield page
        browser.close()


def _place(page, x: float, y: float) -> tuple[float, float]:
    """Where on the screen a pixel of the scene is."""
    scale, left, top = page.evaluate("[view.scale, view.x, view.y]")
    return left + x * scale, top + y * scale


def _color(page, x: float, y: float) -> np.ndarray:
    """RGB on the screen at a pixel of the scene, in the screenshot that a user would see."""
    import cv2

    picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    column, row = _place(page, x, y)
    return picture[round(row), round(column), ::-1].astype(int)


def _count(page) -> str:
    page.wait_for_timeout(60)
    return page.text_content("#count")


def test_page_loads_nothing_and_runs_no_name(page):
    assert {url.split(":")[0] for url in page.requests} <= {"file", "data"} and page.errors == []
    assert page.text_content("h1") == "Port <1>" and page.title() == "Port <1>"
    assert page.evaluate("window.hacked") is None
    assert page.locator("#legend .name").all_text_contents() == [HOSTILE, "ship"]
    assert page.locator("#legend .number").all_text_contents() == ["1", "3"]


def test_polygons_lie_on_the_picture_with_their_holes(page):
    ground, tank, hole, ship = (_color(page, *at) for at in ((300, 250), (165, 150), (185, 135), (50, 45)))
    np.testing.assert_allclose(ground, (60, 60, 160), atol=6)  # JPEG
    np.testing.assert_allclose(hole, (60, 60, 60), atol=6)
    colors = page.evaluate("data.classes.map((one) => one.color)")
    for found, color in ((tank, colors[0]), (ship, colors[1])):
        full = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
        np.testing.assert_allclose(found, 0.75 * 60 + 0.25 * full, atol=6)
    both = _color(page, 70, 50)  # two ships, one over the other
    np.testing.assert_allclose(both, 0.75 * (0.75 * 60 + 0.25 * full) + 0.25 * full, atol=6)


def test_legend_and_score_filter(page):
    assert _count(page) == "4 objects"
    page.locator("#legend input").first.uncheck()
    assert _count(page) == "3 of 4 objects"
    np.testing.assert_allclose(_color(page, 165, 150), (60, 60, 60), atol=6)
    page.locator("#legend input").first.check()
    page.locator("#score").fill("0.5")
    assert _count(page) == "3 of 4 objects" and page.text_content("#score-text") == "0.50"
    page.locator("#score").fill("0")
    assert _count(page) == "4 objects"


def test_click_shows_attributes_of_the_innermost_object(page):
    def clicked(x: float, y: float) -> dict[str, str]:
        page.mouse.click(*_place(page, x, y))
        page.wait_for_timeout(60)
        if not page.locator("#about").is_visible():
            return {}
        rows = page.locator("#about tr").all()
        return {row.locator("th").text_content(): row.locator("td").text_content() for row in rows}

    assert clicked(200, 150)["instance_id"] == "3" and clicked(160, 110)["class_name"] == HOSTILE
    ship = clicked(50, 45)
    assert (ship["instance_id"], ship["score"], ship["length_m"][:3]) == ("1", "0.9", "30.")
    assert clicked(185, 135) == {}  # in the hole
    assert page.errors == []


def test_zoom_move_and_coordinates(page):
    page.mouse.move(*_place(page, 100, 200))
    page.wait_for_timeout(60)
    east, north = map(float, page.text_content("#place").split("  ")[0].split(", "))
    assert (east, north) == pytest.approx((480_050, 5_699_900), abs=1) and "EPSG:32631" in page.text_content("#place")
    before = page.evaluate("view.scale")
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(60)
    assert page.evaluate("view.scale") == pytest.approx(before * np.exp(0.6), rel=1e-3)
    x, y = page.evaluate("[view.x, view.y]")
    page.mouse.down()
    page.mouse.move(*np.add(_place(page, 100, 200), (40, 25)), steps=4)
    page.mouse.up()
    assert page.evaluate("[view.x, view.y]") == pytest.approx([x + 40, y + 25], abs=1)
    page.keyboard.press("0")
    page.wait_for_timeout(60)
    assert page.evaluate("view.scale") == pytest.approx(before)
    length = page.text_content("#scale span").split()
    assert length[1] == "m" and page.evaluate("document.querySelector('#scale div').offsetWidth") == pytest.approx(
        float(length[0]) / 0.5 * before, rel=0.02
    )


def test_wrong_arguments(scene, tmp_path):
    layer, raster = _layer(tmp_path / "found.gpkg"), Raster(scene)
    with pytest.raises(InputError, match="output: expected a file name that ends in .html or .htm, got .*map.png"):
        write_map(layer, raster, tmp_path / "map.png")
    table = geopandas.read_file(layer, layer="objects")
    table.geometry = table.geometry.translate(1, 0)
    table.to_parquet(tmp_path / "far.parquet")
    with pytest.raises(InputError, match="far.parquet: lies elsewhere: its nearest object, at longitude 3.7"):
        write_map(tmp_path / "far.parquet", raster, tmp_path / "map.html")
    table.iloc[:0].to_parquet(tmp_path / "none.parquet")
    assert write_map(tmp_path / "none.parquet", raster, tmp_path / "map.html").objects == 0


def test_command(scene, tmp_path, capsys):
    from insight.cli.main import main

    layer = _layer(tmp_path / "found.geojson")
    assert main(["map", str(layer), str(scene), "-o", str(tmp_path / "map.html")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"wrote {tmp_path}/map.html: 4 objects, 0.0 MB, without 1 row outside the scene")
