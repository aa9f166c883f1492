"""Applications of tests, with a tiny model and small images."""

import json

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from insight.serving import Limits, Settings, create_app

BASE = "http://127.0.0.1:8000"


def write_images(folder, sizes=((64, 96), (48, 48)), seed=0):
    """PNG files named image0.png, ...; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (height, width) in enumerate(sizes):
        noise = np.random.default_rng(seed + number).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
        path = folder / f"image{number}.png"
        Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR).save(path)
        paths.append(path)
    return paths


def make_settings(tmp_path, model, sources=True, limits=None, **settings):
    """Settings of a server of the images in tmp_path / "images"."""
    if sources and not (tmp_path / "images").exists():
        write_images(tmp_path / "images")
    given = {"sources": [str(tmp_path / "images")] if sources else [], "models": [str(model)], "device": "cpu"}
    return Settings(**{**given, **settings}, limits=Limits(**(limits or {})))


def start(settings):
    """A client whose requests come from this machine; use it as a context manager."""
    return TestClient(create_app(settings), base_url=BASE, raise_server_exceptions=False)


def image_ids(client):
    return [image["id"] for image in client.get("/api/images").json()]


def new_object(**fields):
    square = [[1, 1], [9, 1], [9, 9], [1, 9]]
    return {"class": "ship", "box": [1, 1, 9, 9], "polygons": [square], "score": 0.5, **fields}


def detail(reply):
    """The sentence of an error."""
    content = json.loads(reply.content)
    assert isinstance(content["detail"], str), content
    return content["detail"]
