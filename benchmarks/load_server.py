"""Measure `insight serve` under load: many clients at once on the loopback address.

    python benchmarks/load_server.py                              50 clients, 2,000 requests, the default model
    python benchmarks/load_server.py --model FOLDER --requests 200

Each client draws boxes in one of ten images and refines every second one by a point. A client that gets 503 waits as
Retry-After says and asks again; any other error is counted by its status. Prints throughput, latencies of answers,
statuses, and the server's memory after each tenth of the requests, as JSON. `--clients 1` measures what one person
waits for.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from insight.hub import find

IMAGES, SIDE, BOX = 10, 512, 40
_LAST_WORDS = 3000  # characters of the log of a server that has ended


class ServerEndedError(Exception):
    """The server has ended by itself."""


async def main() -> int:
    """Start a server, load it, and print what was seen; return the exit code, that of a server that ends by itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sopseg-vit-t")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _draw(Path(folder), args.seed)
        port = _free_port()
        command = [sys.executable, "-m", "insight", "serve", folder, "--model", args.model, "--port", str(port)]
        with open(Path(folder) / "log", "wb") as log:
            server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            measured = await _load(f"http://127.0.0.1:{port}", server, args)
        except ServerEndedError:
            sys.stderr.write((Path(folder) / "log").read_text()[-_LAST_WORDS:])
            return server.returncode or 1
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(measured, indent=1))
    return 0


async def _load(address: str, server: subprocess.Popen, args: argparse.Namespace) -> dict:
    process, limits = server.pid, httpx.Limits(max_connections=args.clients)
    async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as client:
        while True:
            try:
                images = [image["id"] for image in (await client.get("/api/images")).json()]
                break
            except httpx.TransportError:
                _require_running(server)
                await asyncio.sleep(0.2)
        await client.post(f"/api/images/{images[0]}/segment", json={"box": [0, 0, BOX, BOX]})
        statuses, left, memory = Counter(), iter(range(args.requests)), [_memory(process)]
        latencies: dict[str, list[float]] = {"new box": [], "point in the same box": []}
        computing: dict[str, list[float]] = {what: [] for what in latencies}

        async def ask(seed: int) -> None:
            rng, box = random.Random(seed), None
            for number in left:
                if number and number % (args.requests // 10 or 1) == 0:
                    memory.append(_memory(process))
                refine = box is not None
                if not refine:
                    x, y = rng.randrange(SIDE - BOX), rng.randrange(SIDE - BOX)
                    image, box = rng.choice(images), [x, y, x + BOX, y + BOX]
                point = {"points": [[box[0] + BOX / 2, box[1] + BOX / 2]], "labels": [1]} if refine else {}
                while True:
                    start, used = time.perf_counter(), _cpu_seconds(process)
                    try:
                        reply = await client.post(f"/api/images/{image}/segment", json={"box": box, **point})
                    except httpx.HTTPError as error:
                        statuses[type(error).__name__] += 1
                        break
                    statuses[str(reply.status_code)] += 1
                    if reply.status_code != 503:
                        what = "point in the same box" if refine else "new box"
                        latencies[what].append(time.perf_counter() - start)
                        computing[what].append(_cpu_seconds(process) - used)
                        break
                    await asyncio.sleep(float(reply.headers["retry-after"]))
                box = None if refine else box

        start = time.perf_counter()
        await asyncio.gather(*(ask(args.seed + number) for number in range(args.clients)))
        seconds = time.perf_counter() - start
    _require_running(server)
    return {
        "clients": args.clients,
        "requests": args.requests,
        "requests_per_second": round(args.requests / seconds, 1),
        "latency_seconds": _percentiles(latencies),
        # Of one client: what a machine that does nothing else would need, with one thread.
        **({"server_cpu_seconds": _percentiles(computing)} if args.clients == 1 else {}),
        "statuses": dict(statuses),
        "memory_mib": [*memory, _memory(process)],
        "model": find(args.model).sha256[:12],
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
    }


def _require_running(server: subprocess.Popen) -> None:
    if server.poll() is not None:
        raise ServerEndedError


def _percentiles(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        what: dict(zip(("p50", "p90", "p99"), np.percentile(each, (50, 90, 99)).round(3).tolist()))
        for what, each in seconds.items()
        if each
    }


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _draw(folder: Path, seed: int) -> None:
    for number in range(IMAGES):
        coarse = np.random.default_rng(seed + number).integers(0, 255, (SIDE // 8, SIDE // 8, 3), np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE)).save(folder / f"{number}.png")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _memory(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
