"""Servers for tests, with a tiny model and small images."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
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


_LAUNCH = """
import json, sys
from pathlib import Path
from helpers.tiny_sopseg import DEPTH, DIM, GLOBAL_BLOCKS, HEADS
from insight.modeling.sopseg.encoders import VIT_CONFIGS
from insight.serving.running import serve
from insight.serving.settings import Limits, Settings
VIT_CONFIGS["vit_b"] = (DIM, DEPTH, HEADS, GLOBAL_BLOCKS)  # as in the tests
given = json.loads(sys.argv[1])
serve(Settings(**{**given, "limits": Limits(**given["limits"])}))
"""


@contextlib.contextmanager
def running(log, model, **settings):
    """A server in a process of its own, whose log goes to a file; yields the process and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {"models": [str(model)], "device": "cpu", "port": port, "limits": {}, **settings}
    paths = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, json.dumps(given)],
            stdout=subprocess.DEVNULL,
            stderr=file,
            env={**os.environ, "PYTHONPATH": paths},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{address}/health")
                break
            assert process.poll() is None, Path(log).read_text()
            time.sleep(0.1)
        yield process, address
    finally:
        process.kill()
        process.wait()


def memory_of(process):
    """Resident memory of a process, bytes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
