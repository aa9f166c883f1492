"""The part of CVAT's HTTP API that its SDK calls; every body is checked by the SDK's own models."""

import contextlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from cvat_sdk import models
from cvat_sdk.api_client import ApiClient, Configuration
from PIL import Image

TOKEN = "a-token-of-cvat"


class FakeCVAT:
    """Task 7 with labels ship (1, any), plane (2, rectangle), berth (3, polygon) and one frame a picture.

    Annotations are kept for each job, as CVAT keeps them: update removes shapes by their ids and adds what it got.

    Args:
        pictures: (H, W, 3) uint8 each.
        jobs: first and last frame of each annotation job.
        dies_after: number of changes after which every request is answered by 500; None for never.
    """

    def __init__(self, pictures, jobs=((0, 0),), dies_after=None):
        self.pictures, self.jobs = pictures, jobs
        self.shapes = {job: [] for job in range(1, len(jobs) + 1)}
        self.tracks, self.deleted_frames, self.changes, self.dies_after = [], [], [], dies_after
        self.size_of = lambda picture: picture.shape[:2]
        self._ids = iter(range(100, 10**6))
        self._sdk = ApiClient(Configuration(host="http://localhost"))

    def add(self, points, rotation=0.0, label=1, frame=0, kind="rectangle", job=1, **more):
        """Add a shape as a person does; returns its id."""
        shape = {"type": kind, "label_id": label, "frame": frame, "points": list(map(float, points))}
        self._create(job, [{**shape, "rotation": float(rotation), "source": "manual", **more}])
        return self.shapes[job][-1]["id"]

    def of(self, kind, job=1):
        return [shape for shape in self.shapes[job] if shape["type"] == kind]

    def _create(self, job, shapes):
        for shape in shapes:
            stored = {"attributes": [], "group": 0, "z_order": 0, "occluded": False, "outside": False, "elements": []}
            self.shapes[job].append({**stored, **shape, "id": shape.get("id") or next(self._ids)})

    def _checked(self, content, model):
        """Content that the SDK's model takes."""

        class Reply:
            headers = {"content-type": "application/json"}
            data = json.dumps(content).encode()

        self._sdk.deserialize(Reply, (model,), _check_type=True)
        return content

    def get(self, path, query):
        if path == "/api/server/about":
            about = {"name": "CVAT", "description": "", "version": "2.80.0", "logo_url": "", "subtitle": ""}
            return self._checked(about, models.About)
        if path == "/api/tasks/7":
            jobs = {"count": len(self.jobs), "completed": 0, "validation": 0}
            task = {"id": 7, "name": "harbour", "dimension": "2d", "organization": None}
            return self._checked({**task, "jobs": jobs, "labels": {}}, models.TaskRead)
        if path == "/api/jobs":
            jobs = [
                {"id": i, "task_id": 7, "type": "annotation", "start_frame": a, "stop_frame": b}
                for i, (a, b) in enumerate(self.jobs, 1)
            ] + [{"id": 99, "task_id": 7, "type": "ground_truth"}]
            results = [{**job, "issues": {"count": 0}, "labels": {}} for job in jobs]
            return self._checked({"count": len(jobs), "next": None, "results": results}, models.PaginatedJobReadList)
        if path == "/api/labels":
            kinds = {"ship": "any", "plane": "rectangle", "berth": "polygon"}
            results = [{"id": i, "name": name, "type": kind} for i, (name, kind) in enumerate(kinds.items(), 1)]
            return self._checked({"count": 3, "next": None, "results": results}, models.PaginatedLabelList)
        if path == "/api/tasks/7/data/meta":
            sizes = map(self.size_of, self.pictures)
            frames = [
                {"name": f"{i}.png", "height": h, "width": w, "related_files": 0} for i, (h, w) in enumerate(sizes)
            ]
            meta = {"chunks_updated_date": "2026-11-30T00:00:00Z", "frames": frames, "size": len(frames)}
            return self._checked({**meta, "deleted_frames": self.deleted_frames}, models.DataMetaRead)
        if path == "/api/tasks/7/data":
            assert (query["type"], query["quality"]) == (["frame"], ["original"])
            file = io.BytesIO()
            Image.fromarray(self.pictures[int(query["number"][0])]).save(file, "PNG")
            return file.getvalue()
        job = self._job(path)
        if job in self.shapes:
            tracks = self.tracks if job == 1 else []
            data = {"version": 0, "tags": [], "shapes": self.shapes[job], "tracks": tracks, "intervals": []}
            return self._checked(data, models.LabeledData)
        return None

    def patch(self, path, query, body):
        job, action = self._job(path), query["action"][0]
        if job not in self.shapes:
            return None
        if self.dies_after is not None and len(self.changes) >= self.dies_after:
            raise ConnectionError
        shapes = self._checked(body, models.PatchedLabeledDataRequest)["shapes"]
        self.changes.append((action, len(shapes)))
        if action == "update":
            gone = {shape["id"] for shape in shapes}
            self.shapes[job] = [shape for shape in self.shapes[job] if shape["id"] not in gone]
        else:
            assert action == "create" and not any(shape.get("id") for shape in shapes)
        self._create(job, shapes)
        return {"version": 0, "tags": [], "shapes": self.shapes[job], "tracks": [], "intervals": []}

    @staticmethod
    def _job(path):
        parts = path.strip("/").split("/")
        return int(parts[2]) if parts[:2] == ["api", "jobs"] and parts[3:] == ["annotations"] else None


@contextlib.contextmanager
def serving(fake):
    """Serve it; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1  # head and body in one packet

        def log_message(self, *_):
            pass

        def _answer(self, call, *more):
            parts = urlsplit(self.path)
            if parts.path != "/api/server/about" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._reply(401, {"detail": "no"})
            try:
                content = call(parts.path.rstrip("/"), parse_qs(parts.query), *more)
            except ConnectionError:
                return self._reply(500, {"detail": "killed"})
            return self._reply(404 if content is None else 200, content or {"detail": "Not found."})

        def _reply(self, status, content):
            is_image = isinstance(content, bytes)
            data = content if is_image else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "image/png" if is_image else "application/vnd.cvat+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            self._answer(fake.get)

        def do_POST(self):  # a login by password
            self.rfile.read(int(self.headers["Content-Length"]))
            self._reply(400, {"non_field_errors": ["Unable to log in with provided credentials."]})

        def do_PATCH(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(fake.patch, body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def disc(size, centre, radius):
    """(H, W, 3) uint8: a bright disc on a dark ground."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    return np.where(inside[..., None], np.uint8(220), np.uint8(30)).repeat(3, 2)
