"""A server in a process of its own: its end, clients that misbehave, load."""

import base64
import io
import json
import random
import resource
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from helpers.servers import make_settings, memory_of, new_object, running, start, write_images
from helpers.waiting import wait_until
from PIL import Image

from insight.errors import InputError, InsightError
from insight.serving.running import serve
from insight.serving.settings import Settings
from insight.serving.store import Store

ASKED = {"boxes": [[10, 12, 50, 40]]}


@pytest.fixture(scope="module")
def served(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("served")
    write_images(folder / "images")
    limits = {"body_seconds": 2, "queue": 4}
    server = running(folder / "log", model, sources=[str(folder / "images")], limits=limits)
    with server as (process, address), httpx.Client(base_url=address, timeout=30) as client:
        yield process, client, folder


def _socket(client):
    parts = urlsplit(str(client.base_url))
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def _head(length, path="/v1/predict"):
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_port_that_is_taken_is_told_before_models_are_read(monkeypatch):
    monkeypatch.setattr(serve.__module__ + ".create_app", None)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"^port {port} of 127.0.0.1 cannot be opened; is another server running"):
            serve(Settings(port=port))


def test_a_body_that_stops_halfway_is_given_up(served):
    _, client, _ = served
    with _socket(client) as connection:
        connection.sendall(_head(1000) + b'{"image": "')
        reply = b"".join(iter(lambda: connection.recv(65536), b""))  # until the server closes it
    assert b" 408 " in reply.split(b"\r\n")[0]
    assert b"did not arrive within 2 seconds" in reply
    assert client.get("/health").status_code == 200


def test_clients_that_hang_up_leave_nothing_behind(served):
    _, client, folder = served
    body = json.dumps({"image_id": client.get("/api/images").json()[0]["id"], **ASKED}).encode()
    for cut in (0, 5, len(body)):
        for _ in range(5):
            connection = _socket(client)
            connection.sendall(_head(len(body)) + body[:cut])
            connection.close()
    deadline = time.monotonic() + 20
    while client.get("/health").json()["waiting"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert client.get("/health").json()["waiting"] == 0
    assert client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"}).status_code == 200
    assert "traceback" not in (folder / "log").read_text()


def test_of_two_saves_at_once_one_is_accepted(served):
    _, client, _ = served
    place = f"/api/images/{client.get('/api/images').json()[0]['id']}/objects"
    seen = client.post(place, json=new_object()).json()
    barrier = threading.Barrier(8)

    def save(number):
        barrier.wait()
        changed = new_object(score=number / 10)
        headers = {"If-Match": str(seen["revision"])}
        return client.put(f"{place}/{seen['id']}", json=changed, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(save, range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 7
    (accepted,) = [reply.json() for reply in replies if reply.status_code == 200]
    assert all(reply.json()["current"] == accepted for reply in replies if reply.status_code == 409)
    assert accepted in client.get(place).json()


def test_a_full_disk_is_said_and_nothing_is_half_written(served):
    """The kernel lets the server write no file, as on a full disk: annotations, exports, uploads and the log."""
    process, client, _ = served
    image = client.get("/api/images").json()[0]["id"]
    place, large = f"/api/images/{image}/objects", np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    png = io.BytesIO()
    Image.fromarray(large).save(png, "PNG")  # of more than a megabyte, which goes to a temporary file
    before = client.get(place).json()
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        replies = [
            client.post(place, json=new_object()),
            client.get("/api/export/coco"),
            client.get("/api/export/yolo-seg"),
            client.post("/v1/predict", files={"image": png.getvalue()}, data={"request": json.dumps(ASKED)}),
        ]
        assert [(reply.status_code, "space" in reply.json()["detail"]) for reply in replies] == [(507, True)] * 4
        assert client.post("/v1/predict", json={"image_id": image, **ASKED}).status_code == 200
        assert client.get(place).json() == before
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert client.post(place, json=new_object()).status_code == 201
    assert len(client.get("/api/export/coco").json()["annotations"]) == len(before) + 1
    upload = client.post("/v1/predict", files={"image": png.getvalue()}, data={"request": json.dumps(ASKED)})
    assert upload.status_code == 200


def test_garbage_is_refused(served):
    _, client, _ = served
    for text in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n",
    ):
        with _socket(client) as connection:
            connection.sendall(text + b"\r\n\r\n")
            connection.settimeout(10)
            assert b" 400 " in connection.recv(4096).split(b"\r\n")[0]
    assert client.get("/health").status_code == 200


def test_the_log_has_json_lines_without_secrets(served):
    _, client, folder = served
    client.get("/api/images?offset=0&secret=do-not-log-me")
    wait_until(lambda: '"/api/images"' in (folder / "log").read_text())  # a line is written after its reply
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    last = next(line for line in reversed(lines) if line.get("path") == "/api/images")
    assert {"time", "level", "message", "status", "ms", "bytes", "request", "client"} <= last.keys()
    assert "do-not-log-me" not in (folder / "log").read_text()


def test_a_stop_finishes_what_was_accepted(tmp_path, model):
    write_images(tmp_path / "images")
    with running(tmp_path / "log", model, sources=[str(tmp_path / "images")]) as (process, address):
        with httpx.Client(base_url=address, timeout=30) as client:
            image = client.get("/api/images").json()[0]["id"]
            boxes = [[x, y, x + 30, y + 30] for x in range(0, 60, 6) for y in range(0, 30, 6)]
            asked = {"image_id": image, "boxes": boxes}
            with ThreadPoolExecutor(4) as pool:
                waiting = [pool.submit(httpx.post, f"{address}/v1/predict", json=asked, timeout=60) for _ in range(4)]
                while "insight_queue_requests 0.0" in client.get("/metrics").text:
                    time.sleep(0.01)
                process.send_signal(signal.SIGTERM)
                replies = [one.result() for one in waiting]
        assert [reply.status_code for reply in replies] == [200] * 4
        assert all(len(reply.json()["instances"]) == len(boxes) for reply in replies)
        assert process.wait(30) in (0, -signal.SIGTERM)
    Store(tmp_path / "images" / ".insight" / "annotations.sqlite").close()  # no lock was left


@pytest.mark.slow
def test_a_thousand_requests_leak_nothing(tmp_path, model):
    (path,) = write_images(tmp_path / "images", [(256, 256)])
    limits = {"crop_cache_bytes": 1 << 20, "image_cache_bytes": 1 << 20, "tile_cache_bytes": 1 << 18}
    server = running(tmp_path / "log", model, sources=[str(path.parent)], limits=limits)
    with server as (process, address), httpx.Client(base_url=address, timeout=60) as client:
        image = client.get("/api/images").json()[0]["id"]
        upload, rng, memory = base64.b64encode(path.read_bytes()).decode(), random.Random(0), []
        for number in range(1200):
            x, y = rng.randrange(200), rng.randrange(200)
            boxes = [[x, y, x + 40, y + 40]]
            source = {"image": upload} if number % 3 else {"image_id": image}
            assert client.post("/v1/predict", json={**source, "boxes": boxes}).status_code == 200
            if number % 10 == 0:
                added = client.post(f"/api/images/{image}/objects", json=new_object()).json()
                place = f"/api/images/{image}/objects/{added['id']}"
                client.delete(place, headers={"If-Match": str(added["revision"])})
                client.get(f"/api/images/{image}/tiles/0/0/0.jpg")
                client.post("/v1/predict", json={"image": "x", "boxes": boxes})
            if number >= 200 and number % 100 == 99:
                memory.append(memory_of(process))
    assert memory[-1] - memory[0] < 8 << 20, [round(m / 2**20) for m in memory]


@pytest.mark.slow
def test_fifty_clients_get_answers_or_the_queues_503(tmp_path, model):
    write_images(tmp_path / "images", [(128, 128)] * 5)
    limits = {"queue": 20}
    statuses, errors = Counter(), []
    with running(tmp_path / "log", model, sources=[str(tmp_path / "images")], limits=limits) as (process, address):
        images = [image["id"] for image in httpx.get(f"{address}/api/images").json()]

        def client(seed):
            rng = random.Random(seed)
            with httpx.Client(base_url=address, timeout=120) as mine:
                for _ in range(8):
                    x, y = rng.randrange(80), rng.randrange(80)
                    asked = {"box": [x, y, x + 40, y + 40]}
                    try:
                        reply = mine.post(f"/api/images/{rng.choice(images)}/segment", json=asked)
                    except httpx.HTTPError as error:
                        errors.append(repr(error))
                        continue
                    statuses[reply.status_code] += 1
                    if reply.status_code == 503:
                        assert reply.headers["retry-after"] == "1"

        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert httpx.get(f"{address}/health").json()["waiting"] == 0
    assert errors == []
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 50
    assert sum(statuses.values()) == 400


def test_annotations_in_use_are_reported_before_models_are_read(tmp_path, model, monkeypatch):
    settings = make_settings(tmp_path, model)
    with start(settings) as client, monkeypatch.context() as patch:
        patch.setattr("insight.serving.app.Models", None)
        with pytest.raises(BlockingIOError, match="another server has these annotations open; stop it first"):
            start(settings)
        assert client.get("/health").status_code == 200


def test_a_server_that_does_not_start_keeps_no_annotations(tmp_path, model):
    with pytest.raises(InsightError, match="absent"):
        start(make_settings(tmp_path, tmp_path / "absent"))
    with start(make_settings(tmp_path, model)) as client:
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("name", ["results", "store"])
def test_results_and_annotations_need_images(tmp_path, name):
    with pytest.raises(InputError, match=f"^{name}: is of served images; expected a folder or image file to"):
        Settings(**{name: tmp_path / "there"})
