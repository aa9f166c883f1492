"""The page in a real browser: what is drawn, rotated, corrected and exported, against the ground truth of a scene."""

import contextlib
import filecmp
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pytest
from affine import Affine
from helpers import rasters
from helpers.page_server import BOATS, SIZE, boat_corners, make_app, paint_scene, serving, truth
from PIL import Image
from rasterio import features

from insight.annotation.sources import open_source
from insight.serving import Limits
from insight.structures.rle import rle_to_bitmap, segmentation_to_rle

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'insight-seg[test]'")

CHROMIUM = os.environ.get("INSIGHT_CHROMIUM") or shutil.which("chromium")
SOURCE = Path(__file__).parents[2] / "insight" / "serving" / "page"
STATIC = SOURCE.parent / "static"
OPTIONS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium; set INSIGHT_CHROMIUM to its path")


class Session:
    """A page, driven as a person would: by the pointer and the keys."""

    def __init__(self, page, url):
        self.page, self.errors = page, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.press = page.keyboard.press
        page.goto(url)
        self.until("document.body.dataset.ready === 'true'")

    def until(self, condition, seconds=30):
        ends = time.monotonic() + seconds
        while not self.page.evaluate(condition):  # not wait_for_function, which the page's security policy forbids
            assert time.monotonic() < ends, f"{condition}; {self.message}; {self.errors}"
            self.page.wait_for_timeout(50)

    def settle(self):
        """Wait until masks are there and saved."""
        self.until("insight.state.waiting.size === 0 && insight.saving.isIdle")
        assert self.errors == []

    def at(self, x, y):
        place = "p => insight.imageView.pixelOf(p)"
        self.until(f"({place})([0, 0]) !== null")
        box = self.page.locator("#map").bounding_box()
        dx, dy = self.page.evaluate(place, [float(x), float(y)])
        return box["x"] + dx, box["y"] + dy

    def drag(self, *points):
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=2)
        self.page.mouse.up()

    def click(self, point, **options):
        self.page.mouse.click(*self.at(*point), **options)

    def draw_box(self, boat, tool="b"):
        """Draw the horizontal or the rotated box of a boat."""
        self.press(tool)
        corners = boat_corners(boat)
        if tool == "b":
            self.drag(corners.min(0) - 3, corners.max(0) + 3)
        else:
            self.drag(corners[0], corners[1])
            self.click(corners[2])
        self.settle()

    @property
    def message(self):
        return self.page.inner_text("#message")

    @property
    def objects(self):
        return self.page.evaluate("insight.state.list")

    def export(self, name):
        self.page.click("#export summary")
        with self.page.expect_download() as found:
            self.page.click(f"#export li >> text='{name}'")
        return Path(found.value.path())


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def url(tmp_path):
    """A server of two images of the scene."""
    paint_scene(tmp_path / "images", ("marina.png", "second.png"))
    port = free_port()
    with serving(make_app(tmp_path / "images", port), port) as address:
        yield address


@pytest.fixture
def visit(browser):
    """Opens pages, each in a browser profile of its own."""
    with contextlib.ExitStack() as stack:

        def visit(url, **options):
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            stack.callback(context.close)
            return Session(context.new_page(), url)

        yield visit


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ask(url, path, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url + path, method=method), timeout=20) as reply:
        return json.load(reply)


def iou(mask, boat):
    expected = truth(boat)
    return (mask & expected).sum() / (mask | expected).sum()


def masks_of(path):
    """The masks of a COCO file, by the place of their boats."""
    content = json.loads(path.read_text())
    codes = [segmentation_to_rle(one["segmentation"], SIZE) for one in content["annotations"]]
    masks = [rle_to_bitmap(code).astype(bool) for code in codes]
    return content, [max(masks, key=lambda mask: iou(mask, boat)) for boat in BOATS if masks]


@needs_browser
def test_boxes_become_masks_that_are_corrected_exported_and_loaded_again(url, visit):
    session = visit(url)
    session.draw_box(BOATS[0])
    session.draw_box(BOATS[1], "t")
    session.draw_box(BOATS[2], "t")
    # A horizontal box in the middle of the last boat, rotated by its handle and drawn out by two corners.
    x, y, length, width, angle = BOATS[3]
    session.press("b")
    session.drag((x - 40, y - 15), (x + 40, y + 15))
    session.settle()
    stem = 28 * session.page.evaluate("insight.imageView.resolution")
    rotated = np.radians(angle)
    above = (x + np.sin(rotated) * 90, y - np.cos(rotated) * 90)
    session.drag((x, y - 15 - stem), above)
    session.settle()
    assert len(session.objects) == 4
    halves = np.array([np.cos(rotated), np.sin(rotated)]) * 40, np.array([-np.sin(rotated), np.cos(rotated)]) * 15
    corners = boat_corners(BOATS[3])
    session.drag((x, y) + halves[0] + halves[1], corners[2])
    session.settle()
    session.drag((x, y) - halves[0] - halves[1], corners[0])
    session.settle()
    box = session.page.evaluate("insight.state.current.oriented_box")
    assert np.abs(np.array(box) - corners).max() < 3
    # A piece painted away from it and put back.
    before = session.page.evaluate("insight.state.current.polygons")
    session.press("e")
    session.drag((x - 60, y), (x + 60, y))
    session.settle()
    assert session.page.evaluate("insight.state.current.polygons.length") == 2
    session.press("r")
    session.drag((x - 30, y), (x + 30, y))
    session.settle()
    assert session.page.evaluate("insight.state.current.polygons.length") == 1
    session.press("Control+z")
    session.press("Control+z")
    session.settle()
    assert session.page.evaluate("insight.state.current.polygons") == before

    content, found = masks_of(session.export("COCO"))
    assert len(content["annotations"]) == 4
    assert [iou(mask, boat) > 0.95 for mask, boat in zip(found, BOATS)] == [True] * 4
    with zipfile.ZipFile(session.export("YOLO, oriented boxes")) as file:
        (name,) = (name for name in file.namelist() if name.endswith("marina.txt"))
        rows = np.loadtxt(file.read(name).decode().splitlines())
    assert rows.shape == (4, 9)
    assert np.abs(rows[:, 1:].reshape(-1, 4, 2) * (SIZE[1], SIZE[0]) - boat_corners(BOATS[1])).max(2).min() < 3

    shown = session.objects
    session.page.reload()
    session.until("document.body.dataset.ready === 'true'")
    stored = session.objects
    for one in stored:
        one.pop("revision")
    assert stored == [{name: one[name] for name in stored[0]} for one in shown]


@needs_browser
def test_points_and_undo(url, visit):
    session = visit(url)
    session.press("p")
    session.click(BOATS[2][:2])
    session.settle()
    session.click(BOATS[0][:2])
    session.settle()
    _, found = masks_of(session.export("COCO"))
    assert (found[0] == found[2]).all()  # one object of two parts
    session.page.keyboard.down("Alt")
    session.click(BOATS[0][:2])  # which is no part of it
    session.page.keyboard.up("Alt")
    session.settle()
    (one,) = session.objects
    assert (one["labels"], len(one["polygons"])) == ([1, 1, 0], 1)
    session.page.click("text=Undo")
    session.settle()
    assert len(session.objects[0]["polygons"]) == 2
    session.press("Control+z")
    session.press("Control+z")
    assert session.objects == []
    session.press("Control+Shift+z")
    session.settle()
    (one,) = session.objects
    assert one["labels"] == [1]


@needs_browser
def test_handles_and_vertices_are_moved_added_and_removed(url, visit):
    session = visit(url)
    session.draw_box(BOATS[0])
    box = session.objects[0]["box"]
    session.press("p")
    session.click(box[:2])  # on a handle: a click is the tool's, a drag the handle's
    session.settle()
    assert (session.objects[0]["points"], session.objects[0]["box"]) == ([pytest.approx(box[:2], abs=1)], box)
    session.press("Backspace")
    session.settle()
    assert session.objects[0]["points"] == []
    session.press("o")
    (ring,) = session.objects[0]["polygons"]
    corner = ring[0]
    session.drag(corner, (corner[0] - 30, corner[1] - 30))
    session.settle()
    (moved,) = session.objects[0]["polygons"]
    assert len(moved) == len(ring)
    assert [corner[0] - 30, corner[1] - 30] == pytest.approx(min(moved, key=sum), abs=1)
    for key, count in (("i", 1), ("Delete", 0), ("Delete", -1)):
        session.press(key)
        session.settle()
        assert len(session.objects[0]["polygons"][0]) == len(ring) + count, key
    assert session.objects[0]["source"] == "manual"


@needs_browser
def test_a_geotiff_in_windows_with_the_boxes_of_its_labels(tmp_path, visit):
    """Its tiles are read in windows; boxes of a label file get masks; what is exported lies on the map."""
    transform = Affine(0.5, 0, 500000, 0, -0.5, 4900000)
    paint_scene(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "labelTxt").mkdir()
    image = np.asarray(Image.open(tmp_path / "marina.png"))
    rasters.write(tmp_path / "images" / "marina.tif", image, transform=transform, tiled=True, blockxsize=256)
    rows = [" ".join(map(str, boat_corners(boat).ravel())) for boat in BOATS[:2]]
    (tmp_path / "labelTxt" / "marina.txt").write_text("".join(f"{row} ship 0\n" for row in rows))
    port = free_port()
    app = make_app(tmp_path / "images", port, boxes=open_source(tmp_path), limits=Limits(pixels=100_000))
    with serving(app, port) as url:
        session = visit(url)
        session.until("insight.state.candidates.length === 2")
        session.press("n")
        session.settle()
        assert len(session.page.evaluate("insight.state.current.polygons")) == 1  # to be looked at
        session.press("a")
        session.settle()
        ahead = np.array([session.at(*corner) for corner in boat_corners(BOATS[1])])
        shown = session.page.locator("#map").bounding_box()
        assert (ahead > (shown["x"], shown["y"])).all()  # the next one is in sight as a whole
        assert (ahead < (shown["x"] + shown["width"], shown["y"] + shown["height"])).all()
        session.press("a")
        session.settle()
        session.press("0")  # the whole image
        session.draw_box(BOATS[2], "t")
        seen = session.page.evaluate(_PIXEL, [[*BOATS[3][:2]], [400, 400]])
        assert [min(colour) > 128 for colour in seen] == [True, False]
        table = geopandas.read_file(session.export("GeoJSON")).to_crs(32632)
    assert not app.state.services.library.decoded.bytes  # nothing was decoded whole
    assert list(table["class_name"]) == ["ship"] * 3
    drawn = [features.rasterize([shape], SIZE, transform=transform).astype(bool) for shape in table.geometry]
    assert [max(iou(mask, boat) for mask in drawn) > 0.95 for boat in BOATS] == [True] * 3 + [False]


# Colours of the map at pixels of the image.
_PIXEL = """points => points.map((point) => {
  const canvas = document.querySelector("#map canvas");
  const ratio = canvas.width / canvas.getBoundingClientRect().width;
  const [x, y] = insight.imageView.pixelOf(point).map((value) => Math.round(value * ratio));
  return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3);
})"""


@needs_browser
@pytest.mark.slow
def test_the_keyboard_does_everything(url, visit):
    """No pointer: a class, a rotated box, its mask, candidates, a note that the image is done."""
    session = visit(url)
    session.page.focus("#new-class input")
    session.page.keyboard.type("boat")
    session.press("Enter")
    session.until("insight.state.className === 'boat'")
    session.page.focus("#map")
    session.press("t")
    resolution = session.page.evaluate("insight.imageView.resolution")
    place = np.array(session.page.evaluate("insight.imageView.center"))
    corners = boat_corners(BOATS[1])
    for corner in corners[:3]:
        for axis, (less, more) in enumerate((("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"))):
            steps = round((corner[axis] - place[axis]) / (8 * resolution))
            for _ in range(abs(steps)):
                session.press(more if steps > 0 else less)
            place[axis] += 8 * resolution * steps
        session.press("Enter")
    session.settle()
    (one,) = session.objects
    assert one["class"] == "boat"
    session.press("v")
    for key in ("]", "{", "Shift+ArrowRight", "Shift+ArrowUp", "Shift+ArrowUp", "Shift+ArrowUp"):
        session.press(key)
    session.page.wait_for_timeout(400)
    session.settle()
    box = np.array(session.objects[0]["oriented_box"])
    side = box[1] - box[0]
    before = np.array(one["oriented_box"])
    old = before[1] - before[0]
    assert np.degrees(np.arctan2(side[1], side[0]) - np.arctan2(old[1], old[0])) == pytest.approx(4, abs=0.1)
    assert np.linalg.norm(side) > np.linalg.norm(old)
    session.press("f")
    session.until("insight.state.candidates.length === 3")  # that of the drawn boat is left out
    for key in ("a", "x", "a"):
        session.press(key)
    session.settle()
    assert [one["state"] for one in session.objects] == ["accepted"] * 3
    session.press("d")
    session.until("insight.state.image.name === 'second.png'")
    assert session.page.inner_text("#progress-text") == "1 of 2 done"
    assert [image["objects"] for image in ask(url, "api/images")] == [3, 0]
    session.press("?")
    assert session.page.is_visible("text=Keyboard shortcuts")
    session.press("Escape")
    assert not session.page.is_visible("#help-dialog")


@needs_browser
def test_another_image_is_opened_while_tiles_are_loaded(url, visit):
    session = visit(url)
    session.page.evaluate("""new Promise((resolve) => {
      const { imageView, state } = insight;
      imageView.map.once("postrender", () => {  // between the tiles that are seen and those that are preloaded
        imageView.show(state.images[1], state.project.tile_size);
        setTimeout(resolve, 100);
      });
      imageView.map.render();
    })""")
    session.settle()


@needs_browser
def test_a_box_outside_the_image_makes_and_changes_nothing(url, visit):
    session = visit(url)
    session.press("b")
    session.drag((100, -25), (130, -5))
    assert (session.objects, session.message) == ([], "The box lies outside the image.")
    session.drag((100, -20), (130, 30))  # partly outside
    session.settle()
    (one,) = session.objects
    session.press("v")
    session.drag((130, 30), (130, -5))
    assert (session.objects, session.message) == ([one], "The box lies outside the image.")


@needs_browser
def test_classes_of_the_detector_and_of_another_window(url, visit):
    one, two = visit(url), visit(url)

    def add(session, name):
        session.page.fill("#new-class input", name)
        session.press("Enter")
        session.until(f"insight.state.className === '{name}'")

    add(one, "pier")
    add(two, "a class whose name is longer than the panel is wide")
    one.press("Escape")
    one.page.click("#find")
    one.until("insight.state.candidates.length > 0")
    for name in one.page.locator("#classes .name").all():
        assert name.bounding_box()["x"] + name.bounding_box()["width"] < 1280
    colours = one.page.evaluate("[...document.querySelectorAll('.swatch')].map((swatch) => swatch.style.background)")
    assert len(set(colours)) == 2  # of the pier, and of the boats
    add(one, "buoy")
    classes = ask(url, "api/project")["classes"]
    assert classes == ["pier", "a class whose name is longer than the panel is wide", "boat", "buoy"]
    assert one.page.evaluate("insight.state.classes") == ["pier", "boat", *classes[1:2], "buoy"]
    one.page.evaluate("insight.editor.select(insight.state.candidates[0].id)")
    one.page.focus("#map")
    for left in range(len(BOATS) - 1, -1, -1):
        one.press("x")
        assert one.message == f"Rejected; {left} candidate{'s' * (left != 1)} left."


@needs_browser
@pytest.mark.slow
def test_two_windows_that_change_one_object(url, visit):
    one, two = visit(url), visit(url)
    one.draw_box(BOATS[0])
    two.page.evaluate("insight.editor.refresh()")
    two.until("insight.state.objects.size === 1")
    for answer in ("Keep theirs", "Keep yours"):
        for session, key in ((one, "["), (two, "]")):
            session.page.evaluate("insight.editor.select(insight.state.list[0].id)")
            session.press("v")
            session.press(key)
            if session is one:
                session.page.wait_for_timeout(400)
                session.settle()
        two.until("document.getElementById('conflict-dialog').open")
        two.page.click(f"text={answer}")
        two.page.wait_for_timeout(400)
        two.settle()
        one.page.evaluate("insight.editor.refresh()")
        one.page.wait_for_timeout(300)
        boxes = [session.objects[0]["oriented_box"] for session in (one, two)]
        assert boxes[0] == boxes[1]
    image = ask(url, "api/images")[0]["id"]
    assert ask(url, f"api/images/{image}/objects")[0]["oriented_box"] == boxes[0]


@needs_browser
@pytest.mark.slow
def test_a_server_that_is_killed_loses_nothing(tmp_path, visit):
    paint_scene(tmp_path / "images")
    port = free_port()
    url = f"http://127.0.0.1:{port}/"

    def start():
        command = [sys.executable, "-m", "helpers.page_server", str(tmp_path / "images"), str(port)]
        root = Path(__file__).parents[2]
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"})
        for _ in range(600):
            with contextlib.suppress(OSError):
                ask(url, "health")
                return server
            time.sleep(0.1)
        raise AssertionError("the server does not start")

    server = start()
    try:
        session = visit(url)
        session.draw_box(BOATS[0])
        server.kill()
        server.wait()
        session.press("t")
        corners = boat_corners(BOATS[1])
        session.drag(corners[0], corners[1])
        session.click(corners[2])
        session.until("insight.state.saving === 'offline'")
        assert "Not saved" in session.page.inner_text("#saving")
        server = start()
        session.until("insight.state.saving === 'saved'")
        session.settle()
        image = ask(url, "api/images")[0]["id"]
        stored = ask(url, f"api/images/{image}/objects")
        assert {one["id"] for one in stored} == {one["id"] for one in session.objects}
        assert len(stored) == 2
    finally:
        server.kill()
        server.wait()


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 800), (667, 375)])
def test_sizes_and_accessibility(url, visit, width, height, scheme):
    viewport = {"width": width, "height": height}
    session = visit(url, viewport=viewport, color_scheme=scheme, has_touch=width < 700)
    assert session.page.locator("#map").bounding_box()["height"] > 0.4 * height
    session.draw_box(BOATS[0])
    _, found = masks_of(session.export("COCO"))
    assert iou(found[0], BOATS[0]) > 0.95
    assert session.page.evaluate("document.documentElement.scrollWidth") == width
    session.press("f")
    session.until("insight.state.candidates.length > 0")
    axe = SOURCE / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("no axe-core: npm ci in insight/serving/page")
    session.page.evaluate(axe.read_text())
    for opened in ("", "help-dialog", "export"):
        if opened == "help-dialog":
            session.press("?")
        elif opened == "export":
            session.press("Escape")
            session.page.click("#export summary")
        found = session.page.evaluate("axe.run().then(({ violations }) => violations)")
        said = [(one["id"], one["help"], [node["html"][:120] for node in one["nodes"]]) for one in found]
        assert said == [], opened


def test_the_bundle_is_built_of_the_source(tmp_path):
    npm = shutil.which("npm")
    if npm is None or not (SOURCE / "node_modules" / "esbuild").is_dir():
        pytest.skip("no node, or its packages are not installed: npm ci in insight/serving/page")
    subprocess.run(["node", SOURCE / "build.mjs", tmp_path], check=True, cwd=SOURCE)
    names = sorted(path.name for path in STATIC.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert filecmp.cmpfiles(STATIC, tmp_path, names, shallow=False)[0] == names, "run: npm run build"
