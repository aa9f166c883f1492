"""Count clicks and seconds per object: rotated boxes on the page, beside the vertices that a polygon tool needs.

    python benchmarks/page_clicks.py --output clicks.json

A script draws on the page as a person would, in a real browser: for each of 60 boats of a drawn marina a rotated box,
two pixels of the screen off, and then points where the mask is wrong. For a polygon tool, it counts the vertices of the
coarsest polygon that is as good as the page's mask; `polygon_clicks.py` draws them in Label Studio. It takes about
two minutes.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import tempfile
import threading
import time
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from insight.data.scenes import SceneInstance, draw_scene, generator_version
from insight.hub import find
from insight.serving import Settings, create_app
from insight.serving.outlines import rings_to_mask
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.rle import rle_to_bitmap

SEED, SIZE = 34, (768, 1024)  # a marina of 102 boats at 0.22 metres a pixel
BOATS = 60
OFF = 2  # pixels of the screen, standard deviation of the hand
GOOD, CORRECTIONS = 0.8, 3  # IoU from which a mask is left alone, and points set at most
MAGNIFIED = 4  # pixels of the screen for one of the image
TOLERANCES = np.geomspace(20, 0.3, 40)  # pixels: of polygons, from coarse to fine
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def main() -> None:
    """Annotate the boats and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="sopseg-vit-t", help="name or folder of a SOPSeg model")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file for the numbers")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="JPEG of the page at the end")
    args = parser.parse_args()
    image, boats = marina()
    with tempfile.TemporaryDirectory() as folder, _served(Path(folder), image, args.model) as address:
        rows = _annotate(address, boats, args.screenshot)
    numbers = _summary(rows) | {
        "ious": [row["iou"] for row in rows],
        "boats": len(rows),
        "seed": SEED,
        "scenes": generator_version(),
        "model": find(args.model).sha256[:12],
        "date": date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    text = json.dumps(numbers, indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n")


def marina() -> tuple[np.ndarray, list[SceneInstance]]:
    """Draw the marina; return its image (H, W, 3) and the boats to annotate, from the middle on."""
    scene = draw_scene(SEED, SIZE, kind="harbour", look="optical", off_nadir=0)
    return scene.image, sorted((one for one in scene.instances if one.category == "ship"), key=_from_middle)[:BOATS]


def _from_middle(boat: SceneInstance) -> float:
    return float(np.hypot(boat.oriented_box[0] - SIZE[1] / 2, boat.oriented_box[1] - SIZE[0] / 2))


@contextlib.contextmanager
def _served(folder: Path, image: np.ndarray, model: str):
    Image.fromarray(image).save(folder / "marina.png")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    app = create_app(Settings(sources=[str(folder)], models=[model], device="cpu", port=port))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()


def _annotate(address: str, boats: list[SceneInstance], screenshot: Path | None) -> list[dict]:
    rng = np.random.default_rng(0)
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        _until(page, "document.body.dataset.ready === 'true'")
        page.evaluate("insight.editor.setClass('boat')")
        for number, boat in enumerate(boats):
            rows.append(_annotate_one(page, boat, rng))
            print(f"{number + 1}: {rows[-1]}", flush=True)
        if screenshot is not None:
            page.keyboard.press("v")
            page.evaluate("insight.editor.select(insight.state.at(insight.imageView.center)?.id ?? null)")
            page.evaluate(f"insight.imageView.view.setCenter([{SIZE[1] / 2}, {-SIZE[0] / 2}])")
            page.evaluate("insight.imageView.view.setResolution(0.45)")
            page.wait_for_timeout(1500)
            page.screenshot(path=screenshot, type="jpeg", quality=80)
        browser.close()
    return rows


def _annotate_one(page: Page, boat: SceneInstance, rng: np.random.Generator) -> dict:
    x, y = boat.oriented_box[:2]
    page.evaluate(f"insight.imageView.view.setResolution({1 / MAGNIFIED})")
    page.evaluate(f"insight.imageView.view.setCenter([{x}, {-y}])")
    _until(page, "insight.imageView.pixelOf([0, 0]) !== null")
    page.wait_for_timeout(100)
    corners = oriented_corners([boat.oriented_box])[0].numpy()
    if np.linalg.norm(corners[1] - corners[0]) < np.linalg.norm(corners[2] - corners[1]):
        corners = np.roll(corners, -1, axis=0)  # along the longer side
    first, second, third = corners[:3] + rng.normal(0, OFF / MAGNIFIED, (3, 2))
    page.keyboard.press("t")
    page.keyboard.down("Shift")  # not the handles of the boat beside it
    page.mouse.move(*_on_screen(page, first))
    page.mouse.down()
    page.mouse.move(*_on_screen(page, second), steps=2)
    page.mouse.up()
    page.mouse.move(*_on_screen(page, third))
    start = time.perf_counter()
    page.mouse.down()
    page.mouse.up()
    page.keyboard.up("Shift")
    mask, seconds = _mask(page, start)
    truth = boat.full_mask(SIZE)
    scores, clicks = [iou(mask, truth)], 2  # the drag, and the click for the width
    waits = []
    while scores[-1] < GOOD and len(waits) < CORRECTIONS:
        point, is_missing = _worst(mask, truth)
        page.keyboard.press("p" if is_missing else "m")
        start = time.perf_counter()
        page.mouse.click(*_on_screen(page, point))
        clicks += 1
        mask, wait = _mask(page, start)
        waits.append(wait)
        scores.append(iou(mask, truth))
    return {
        "clicks": clicks,
        "first_iou": scores[0],
        "iou": scores[-1],
        "seconds": seconds,
        "point_seconds": waits,
        # A drag and a click make the box, a click each point; a key chooses the tool.
        "estimated_seconds": estimated_seconds(3 + len(waits), 4 + 2 * len(waits), 1 + len(waits)),
        "vertices": sum(map(len, coarsest_outlines(truth, scores[-1]))),
        "outline_vertices": page.evaluate("insight.state.current.polygons.flat().length"),
    }


def _mask(page: Page, start: float) -> tuple[np.ndarray, float]:
    _until(page, "insight.state.waiting.size === 0 && insight.state.current !== null")
    seconds = time.perf_counter() - start
    rings = page.evaluate("insight.state.current.polygons")
    return rle_to_bitmap(rings_to_mask(rings, SIZE)).astype(bool), seconds


def _on_screen(page: Page, point: np.ndarray) -> tuple[float, float]:
    box = page.locator("#map").bounding_box()
    assert box is not None
    x, y = page.evaluate("point => insight.imageView.pixelOf(point)", [float(value) for value in point])
    return box["x"] + x, box["y"] + y


def _until(page: Page, condition: str) -> None:
    ends = time.monotonic() + 60
    while not page.evaluate(condition):
        if time.monotonic() > ends:
            raise TimeoutError(condition)
        page.wait_for_timeout(10)


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return the IoU of two masks."""
    return round(float((mask & truth).sum() / (mask | truth).sum()), 4)


def _worst(mask: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, bool]:
    """The middle of the largest piece that the mask misses or has too much, and which of both it is."""
    best, least = (np.zeros(2), True), -1
    for wrong, is_missing in ((truth & ~mask, True), (mask & ~truth, False)):
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
        if len(statistics) == 1:
            continue
        largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
        if statistics[largest, cv2.CC_STAT_AREA] > least:
            inside = cv2.distanceTransform(np.pad((parts == largest).astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
            row, column = np.unravel_index(inside.argmax(), inside.shape)
            best = (np.array([column + 0.5, row + 0.5]), is_missing)
            least = statistics[largest, cv2.CC_STAT_AREA]
    return best


def coarsest_outlines(truth: np.ndarray, least: float) -> list[np.ndarray]:
    """Return the coarsest outlines, each (N, 2) pixels, whose IoU with a mask is not below `least`."""
    contours, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines: list[np.ndarray] = []
    for tolerance in TOLERANCES:
        outlines = [cv2.approxPolyDP(contour, tolerance, True)[:, 0] for contour in contours]
        drawn = np.zeros(truth.shape, np.uint8)
        cv2.fillPoly(drawn, outlines, 1)
        if iou(drawn.astype(bool), truth) >= least:
            break
    return outlines


def estimated_seconds(pointings: int, presses: int, keys: int) -> float:
    """Return a person's seconds by the Keystroke-Level Model (Card, Moran and Newell 1980).

    Args:
        pointings: times that the pointer is moved to a place.
        presses: times that its button is pressed or released.
        keys: keys that are pressed.

    Returns:
        The seconds, without those in which the person waits for the machine.
    """
    return 1.1 * pointings + 0.1 * presses + 0.2 * keys


def _summary(rows: list[dict]) -> dict:
    def mean(name: str) -> float:
        return round(float(np.mean([row[name] for row in rows])), 3)

    waits = [wait for row in rows for wait in row["point_seconds"]]
    return {
        "clicks": mean("clicks"),
        "polygon_vertices": mean("vertices"),
        "estimated_seconds": mean("estimated_seconds"),
        "iou": mean("iou"),
        "iou_of_boxes_alone": mean("first_iou"),
        "good_without_a_point": round(float(np.mean([row["first_iou"] >= GOOD for row in rows])), 3),
        "good": round(float(np.mean([row["iou"] >= GOOD for row in rows])), 3),
        "seconds_to_the_mask": round(float(np.median([row["seconds"] for row in rows])), 3),
        "seconds_after_a_point": round(float(np.median(waits)), 3) if waits else None,
        "vertices_of_outlines": mean("outline_vertices"),
    }


if __name__ == "__main__":
    main()
