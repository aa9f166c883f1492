"""A server of the page for its tests: a painted scene whose ground truth is known, and a stand-in for the model.

Run as a program, it serves the folder and the port of its arguments until it is killed.
"""

import contextlib
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import uvicorn
from PIL import Image

from insight.serving import Settings, create_app
from insight.serving.replies import Refusal
from insight.serving.segmenter import Mask
from insight.structures.rle import masks_to_rle

SIZE = (600, 800)  # height, width
# Centre x, y, length, width, degrees clockwise: boats on dark water.
BOATS = [(150, 150, 120, 40, 0), (420, 160, 130, 44, 30), (650, 180, 110, 36, -50), (250, 420, 140, 48, 75)]
_BRIGHT = 128


def boat_corners(boat):
    """(4, 2) corners, clockwise on the screen."""
    x, y, length, width, angle = boat
    return cv2.boxPoints(((x, y), (length, width), angle))[[1, 2, 3, 0]].astype(float)


def truth(boat):
    """(H, W) bool mask of a boat."""
    mask = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(mask, [np.round(boat_corners(boat)).astype(np.int32)], 1)
    return mask.astype(bool)


def paint_scene(folder, names=("marina.png",)):
    """Images of the boats."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(-20, 20, (*SIZE, 1))
    image = np.clip(np.array([30, 60, 80]) + noise, 0, 255)
    image[np.any([truth(boat) for boat in BOATS], 0)] = (230, 225, 215)
    for name in names:
        Image.fromarray(image.astype(np.uint8)).save(folder / name)


class BrightSegmenter:
    """Answers a prompt with the bright pixels in its box (a little larger), or the bright part at its points."""

    crops = SimpleNamespace(bytes=0, hits=0, misses=0)

    def check(self, size, prompt):
        pass

    def segment(self, pixels, prompts):
        height, width = pixels.size
        bright = pixels.read((0, 0, width, height)).min(2) > _BRIGHT
        return [Mask(masks_to_rle(_answer(bright, prompt)[None])[0], 0.9) for prompt in prompts]


def _answer(bright, prompt):
    around = np.ones(bright.shape, np.uint8)
    if prompt.box is not None or prompt.oriented_box is not None:
        x1, y1, x2, y2 = prompt.box or (0, 0, 0, 0)
        given = prompt.oriented_box or [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        around = np.zeros(bright.shape, np.uint8)
        cv2.fillPoly(around, [np.round(np.array(given)).astype(np.int32)], 1)
        around = cv2.dilate(around, np.ones((5, 5), np.uint8))
    _, parts = cv2.connectedComponents((bright & (around > 0)).astype(np.uint8))
    mask = parts > 0
    chosen = [parts[int(y), int(x)] for (x, y), label in zip(prompt.points, prompt.labels) if label]
    removed = [parts[int(y), int(x)] for (x, y), label in zip(prompt.points, prompt.labels) if not label]
    if chosen and prompt.box is None and prompt.oriented_box is None:
        mask = np.isin(parts, chosen)
    return mask & (parts > 0) & ~np.isin(parts, [part for part in removed if part])


class BrightModels:
    """Stands in for `insight.serving.models.Models`; its detector finds all boats."""

    def __init__(self):
        self.segmenters = [BrightSegmenter()]
        self.folders = {
            "bright": SimpleNamespace(name="bright", kind="sopseg", class_names=(), license="", score_threshold=0),
            "boats": SimpleNamespace(
                name="boats", kind="detector", class_names=("boat",), license="", score_threshold=0
            ),
        }

    def choose(self, kind, name=None):
        chosen = name or {"sopseg": "bright", "detector": "boats"}[kind]
        if chosen not in self.folders:
            raise Refusal(404, "model: unknown")
        return chosen

    def has(self, kind):
        return True

    def segmenter(self, name):
        return self.segmenters[0]

    def detect(self, name, pixels):
        masks = np.stack([truth(boat) for boat in BOATS])
        boxes = [[*corners.min(0).tolist(), *corners.max(0).tolist()] for corners in map(boat_corners, BOATS)]
        scores = np.linspace(0.9, 0.6, len(BOATS)).tolist()
        return [("boat", *found) for found in zip(scores, masks_to_rle(masks), boxes)]


def make_app(folder, port, **settings):
    """An application that serves a folder with the stand-in."""
    app = create_app(Settings(sources=[str(folder)], models=(), port=port, **settings))
    app.state.services.models = BrightModels()
    return app


@contextlib.contextmanager
def serving(app, port):
    """The application on a port of this machine; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(20)


if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    uvicorn.run(make_app(folder, port), host="127.0.0.1", port=port, log_config=None)
