"""Detection on a large drawn town with a detector that is never wrong: what tiling, joining and writing cost.

    insight data town town.tif --size 20000
    python benchmarks/large_raster.py town.tif --tile-sizes 1024 2048 512

The detector finds exactly what a tile shows of every object ("ideal" in compare_tiles.py), so that objects twice, cut
or lost are the tiling's alone. Each tile size runs in a process of its own and writes a GeoPackage. The numbers:

- objects, missing: polygons found, and objects of the truth that none of them equals, corner by corner.
- twice: pairs of polygons of one class that share half of the smaller one.
- seconds: processor time of the run, of which `writer` is that of the thread that joins, outlines and writes, and
  `end` what is left to do when the last tile is done, as elapsed time.
- GiB: peak of the process's memory.
- share: of `writer` in the time of a run whose tiles are seen by the shipped light detector on one core, in percent.
  Without its weights, one with random weights takes its place, which finds nothing and so is faster.
"""

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
import torch
from compare_tiles import IdealDetector, Objects, in_pixels, read_truth, twice, write_labels
from harness import resident

from insight.geo.raster import Raster
from insight.geo.tiles import TileGrid
from insight.runtime.machine import describe_machine


def main() -> None:
    """Run the tile sizes and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raster", type=Path, help="a town, next to its ground truth")
    parser.add_argument("--tile-sizes", nargs="+", type=int, default=[1024, 2048, 512], metavar="N")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        _run_one(args.raster, args.one, args.output)
        return
    raster = Raster(args.raster)
    truth = read_truth(raster)
    rows: dict[str, dict[str, Any]] = {}
    result: dict[str, Any] = {
        "machine": describe_machine(torch.device("cpu")),
        "truth": len(truth.polygons),
        "detector, seconds a million pixels": detector_seconds(raster) * 1e6,
        "tile sizes": rows,
    }
    with tempfile.TemporaryDirectory(dir=args.raster.parent) as folder:
        labels = write_labels(truth, raster, Path(folder, "labels.tif"))
        for size in args.tile_sizes:
            output = Path(folder, f"{size}.gpkg")
            command = [sys.executable, __file__, str(labels), "--one", str(size), "--output", str(output)]
            subprocess.run(command, check=True)
            found = in_pixels(geopandas.read_file(output, layer="objects"), raster)
            rows[str(size)] = {
                "objects": len(found.polygons),
                "missing": missing(truth, found),
                "twice": twice(found),
                **pickle.loads(output.with_suffix(".pickle").read_bytes()),
            }
            seen = sum((x1 - x0) * (y1 - y0) for _, _, (x0, y0, x1, y1), _ in TileGrid(raster.size, size))
            writer = rows[str(size)]["writer"]
            seconds = seen * result["detector, seconds a million pixels"] / 1e6
            rows[str(size)]["share"] = 100 * writer / (writer + seconds)
            print(size, json.dumps(rows[str(size)]), flush=True)
            if args.json:
                args.json.write_text(json.dumps(result, indent=1))


def missing(truth: Objects, found: Objects) -> int:
    """How many polygons of the truth none of those that were found equals, in class and every corner."""
    return len(_forms(truth) - _forms(found))


def _forms(objects: Objects) -> set[tuple[int, bytes]]:
    rounded = shapely.transform(objects.polygons, np.round)  # corners are corners of pixels
    parts = [shapely.MultiPolygon(list(shapely.get_parts(polygon))) for polygon in rounded]
    return set(zip(objects.classes.tolist(), shapely.to_wkb(shapely.normalize(parts)).tolist()))


def detector_seconds(raster: Raster, side: int = 1024) -> float:
    """Processor time of the light detector for a pixel."""
    from bench_raster import detector

    tiles = detector(torch.device("cpu")).for_tiles()
    window = (0, 0, min(side, raster.width), min(side, raster.height))
    for _ in range(2):  # the first one warms up
        start = time.process_time()
        tiles.set_image(raster.read(window))
        tiles.detect()
    return (time.process_time() - start) / (window[2] * window[3])


def _run_one(path: Path, side: int, output: Path) -> None:
    from insight.geo import scene_run
    from insight.geo.engines import open_engine
    from insight.geo.options import RasterOptions
    from insight.geo.predict import prepare

    times: dict[str, float] = {}

    class Timed(scene_run.Arriving):
        def _guarded(self, task: Any) -> None:
            start = time.thread_time()
            super()._guarded(task)
            times["writer"] = time.thread_time() - start

    scene_run.Arriving = Timed  # type: ignore[misc]
    start, begun = time.process_time(), time.monotonic()
    run = prepare(Raster(path), IdealDetector(), RasterOptions(tile_size=side))
    with open_engine() as run_jobs, torch.no_grad():

        def timed_jobs(work: Any, results: Any) -> None:
            run_jobs(work, results)
            times["end"] = time.monotonic()

        run.to_file(output, timed_jobs)
    ended = time.monotonic()
    numbers = {
        "seconds": time.process_time() - start,
        "writer": times["writer"],
        "end": ended - times["end"],
        "elapsed": ended - begun,
        "GiB": resident("VmHWM") / 2**30,
        "GeoPackage, MB": output.stat().st_size / 1e6,
    }
    output.with_suffix(".pickle").write_bytes(pickle.dumps(numbers))


if __name__ == "__main__":
    main()
