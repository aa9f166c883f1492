"""Compare SOPSeg's masks of boxes on real tiles stitched to a scene: for two tile sizes, and on each tile alone.

    python benchmarks/compare_prompts.py $INSIGHT_DATA/isaid_tiles train --side 2 --objects 48

Prompts are the oriented boxes of objects, chosen at random among those of at least 100 pixels. On a tile alone an
object at its edge is seen without what lies beyond, so that some difference is expected: "at an edge" are objects
whose crop leaves their tile. Printed are the shares of masks with an IoU of at least 0.999 and 0.9, and the mean IoU.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
import torch
from stitch_tiles import stitch

from insight import SOPSegPredictor
from insight.geo import Raster, predict_raster
from insight.geo.features import smallest_rectangles
from insight.geo.town import truth_path
from insight.runtime.machine import describe_machine
from insight.structures.crop_plans import plan_crops
from insight.structures.prompts import parse_prompts

LEAST = 100  # pixels


def main() -> None:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("split")
    parser.add_argument("--side", type=int, default=2, metavar="N", help="tiles along each side")
    parser.add_argument("--objects", type=int, default=48, metavar="N")
    parser.add_argument("--tile-sizes", nargs=2, type=int, default=[256, 1024], metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    model = SOPSegPredictor.from_pretrained(device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scene.tif")
        stitch(args.dataset, args.split, args.side, args.seed, path)
        raster = Raster(path)
        corners = boxes_of(path, raster, args.objects, args.seed)
        small, large = (masks(path, model, corners, size) for size in args.tile_sizes)
        alone, at_edge = on_tiles(raster, model, corners, raster.width // args.side)
    numbers = {
        f"tiles of {args.tile_sizes[0]} and {args.tile_sizes[1]}": shares(small, large),
        "each tile alone, within": shares(large[~at_edge], alone[~at_edge]),
        "each tile alone, at an edge": shares(large[at_edge], alone[at_edge]),
    }
    for name, row in numbers.items():
        print(name, json.dumps(row))
    if args.json:
        machine = describe_machine(torch.device("cpu"))
        args.json.write_text(json.dumps({"machine": machine, "pairs": numbers}, indent=1))


def boxes_of(path: Path, raster: Raster, count: int, seed: int) -> np.ndarray:
    """(N, 4, 2) corners of the smallest rectangles around objects, pixels."""
    table = geopandas.read_file(truth_path(path))
    polygons = shapely.transform(table.geometry.to_numpy(), lambda p: np.stack(~raster.transform @ p.T, 1))
    polygons = polygons[shapely.area(polygons) >= LEAST]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(polygons))[:count])
    rings = (shapely.get_coordinates(shapely.convex_hull(polygon))[None] for polygon in polygons[chosen])
    return np.concatenate([smallest_rectangles(ring)[0] for ring in rings])


def masks(path: Path, model: Any, corners: np.ndarray, tile_size: int) -> np.ndarray:
    """(N,) polygons in pixels."""
    table = predict_raster(path, model, oriented_boxes=corners, tile_size=tile_size)
    inverse = ~Raster(path).transform
    return shapely.transform(table.geometry.to_numpy(), lambda p: np.stack(inverse @ p.T, 1))


def on_tiles(raster: Raster, model: Any, corners: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) polygons of the prompts on the tiles that they lie in, and (N,) whether a crop leaves its tile."""
    polygons, at_edge = np.full(len(corners), None, object), np.zeros(len(corners), bool)
    tiles = (corners.mean(1) // side).astype(int)
    for x, y in np.unique(tiles, axis=0).tolist():
        index = np.flatnonzero((tiles == (x, y)).all(1))
        origin = np.array([x * side, y * side])
        model.set_image(raster.read((x * side, y * side, (x + 1) * side, (y + 1) * side)))
        found = model.predict(oriented_boxes=corners[index] - origin).to_geodataframe()
        polygons[index] = shapely.transform(found.geometry.to_numpy(), lambda p, by=origin: p + by)
        group = parse_prompts((side, side), oriented_boxes=corners[index] - origin).groups[0]
        regions = plan_crops(group, (10**6, 10**6), model.crop_size).regions.numpy()
        at_edge[index] = (regions[:, :2] < 0).any(1) | (regions[:, 2:] > side).any(1)
    return polygons, at_edge


def shares(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """How alike masks are, in pairs."""
    if not len(a):
        return {"masks": 0}
    common = shapely.area(shapely.intersection(a, b))
    neither = shapely.is_missing(a) & shapely.is_missing(b)
    iou = np.where(neither, 1.0, np.nan_to_num(common / (shapely.area(a) + shapely.area(b) - common)))
    percent = {f"IoU {least}, %": 100 * float((iou >= least).mean()) for least in (0.999, 0.9)}
    return {"masks": len(a), **percent, "mean IoU": float(iou.mean())}


if __name__ == "__main__":
    main()
