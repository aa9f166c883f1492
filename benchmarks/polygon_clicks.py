"""Count clicks and seconds for the boats of `page_clicks.py` with Label Studio's polygon tool, in a browser.

    python benchmarks/page_clicks.py --output page.json
    LABEL_STUDIO_PASSWORD=... python benchmarks/polygon_clicks.py page.json http://localhost:8080 --user a@example.org

Each boat gets the coarsest polygon that is as good as the page's mask of it: one click a vertex, and one on the first
vertex to close it, with the same magnification. Prints clicks, IoU of what Label Studio saved, the script's seconds
and a person's by the Keystroke-Level Model.
"""

import argparse
import json
import os
import shutil
import time
from datetime import date
from pathlib import Path

import cv2
import numpy as np
from page_clicks import MAGNIFIED, OPTIONS, SEED, SIZE, coarsest_outlines, estimated_seconds, iou, marina
from playwright.sync_api import Page, sync_playwright

from insight.data.formats.images import encode_png

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <PolygonLabels name="polygon" toName="image"><Label value="boat"/></PolygonLabels>
</View>"""


def main() -> None:
    """Draw the polygons and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("page", type=Path, help="JSON file of page_clicks.py")
    parser.add_argument("address", help="of a running Label Studio")
    parser.add_argument("--user", required=True, help="its user; LABEL_STUDIO_PASSWORD has the password")
    parser.add_argument("--boats", type=int, help="only the first so many")
    parser.add_argument("--screenshot", type=Path, metavar="FILE")
    args = parser.parse_args()
    image, boats = marina()
    targets = json.loads(args.page.read_text())["ious"][: args.boats]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        task = _open_task(page, args.address, args.user, encode_png(image))
        rows = []
        for boat, target in zip(boats, targets):
            truth = boat.full_mask(SIZE)
            (outline,) = coarsest_outlines(truth, target)
            rows.append(_draw(page, outline, boat.oriented_box[:2]))
            print(rows[-1], flush=True)
        if args.screenshot is not None:
            page.screenshot(path=args.screenshot)
        page.click("button:has-text('Submit')")
        page.wait_for_timeout(3000)
        saved = _saved(page, args.address, task)
        browser.close()
    drawn = [_mask(result["value"]["points"]) for result in saved]
    ious = [max(iou(mask, boat.full_mask(SIZE)) for mask in drawn) for boat, _ in zip(boats, targets)]
    numbers = {
        "boats": len(rows),
        "saved": len(saved),
        "clicks": round(float(np.mean([row["clicks"] for row in rows])), 2),
        "iou": round(float(np.mean(ious)), 3),
        "iou_of_the_page": round(float(np.mean(targets)), 3),
        "estimated_seconds": round(
            float(np.mean([estimated_seconds(c, 2 * c, 1) for c in (row["clicks"] for row in rows)])), 2
        ),
        "seconds_of_the_script": round(float(np.median([row["seconds"] for row in rows])), 2),
        "seed": SEED,
        "date": date.today().isoformat(),
    }
    print(json.dumps(numbers, indent=1))


def _open_task(page: Page, address: str, user: str, png: bytes) -> int:
    """Log in, make a project of the image, and open its task."""
    page.goto(f"{address}/user/login/", wait_until="domcontentloaded")
    page.fill("input[name=email]", user)
    page.fill("input[name=password]", os.environ["LABEL_STUDIO_PASSWORD"])
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url, wait_until="commit")
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    headers = {"X-CSRFToken": cookies["csrftoken"], "Referer": address}
    ask = page.context.request
    made = ask.post(f"{address}/api/projects", data={"title": "Marina", "label_config": CONFIG}, headers=headers)
    project = made.json()["id"]
    file = {"name": "marina.png", "mimeType": "image/png", "buffer": png}
    ask.post(f"{address}/api/projects/{project}/import", multipart={"file": file}, headers=headers)
    task = ask.get(f"{address}/api/tasks?project={project}").json()["tasks"][0]["id"]
    page.goto(f"{address}/projects/{project}/data?task={task}", wait_until="domcontentloaded")
    page.wait_for_selector("canvas")
    page.wait_for_timeout(3000)
    return task


# Zooms to a point of the image in percent, and answers where a pixel of the image is on the screen.
_ZOOM = """([x, y, magnified, width, height]) => {
  const image = Htx.annotationStore.selected.names.get("image");
  image.setZoom(magnified * width / image.stageWidth);
  image.setZoomPosition(image.stageWidth / 2 - x * magnified, image.stageHeight / 2 - y * magnified);
}"""
_PLACE = """([width, height]) => {
  const image = Htx.annotationStore.selected.names.get("image");
  const box = image.stageRef.container().getBoundingClientRect();
  const scale = image.zoomScale * image.stageWidth / width;
  return [box.left + image.zoomingPositionX, box.top + image.zoomingPositionY, scale];
}"""
_COUNT = "Htx.annotationStore.selected.regions.filter((region) => region.closed).length"


def _draw(page: Page, outline: np.ndarray, middle: tuple[float, float]) -> dict[str, float]:
    before = page.evaluate(_COUNT)
    height, width = SIZE
    page.evaluate(_ZOOM, [*map(float, middle), MAGNIFIED, width, height])
    page.wait_for_timeout(200)
    left, top, scale = page.evaluate(_PLACE, [width, height])
    points = (outline + 0.5) * scale + (left, top)
    start = time.perf_counter()
    page.keyboard.press("1")
    for x, y in [*points, points[0]]:
        page.mouse.move(x, y, steps=2)
        page.mouse.click(x, y)
    ends = time.monotonic() + 20
    while page.evaluate(_COUNT) == before:
        if time.monotonic() > ends:
            raise TimeoutError("the polygon was not closed")
        page.wait_for_timeout(20)
    seconds = time.perf_counter() - start
    page.keyboard.press("u")  # deselect it
    return {"clicks": len(outline) + 1, "seconds": round(seconds, 3)}


def _saved(page: Page, address: str, task: int) -> list[dict]:
    annotations = page.context.request.get(f"{address}/api/tasks/{task}/annotations/").json()
    return [one for found in annotations for one in found["result"]]


def _mask(points: list[list[float]]) -> np.ndarray:
    """A polygon in percent, filled."""
    drawn = np.zeros(SIZE, np.uint8)
    corners = np.array(points) * (SIZE[1], SIZE[0]) / 100 - 0.5
    cv2.fillPoly(drawn, [np.round(corners).astype(np.int32)], 1)
    return drawn.astype(bool)


if __name__ == "__main__":
    main()
