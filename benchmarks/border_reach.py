"""Measure how far the border of a tile reaches: what a detector finds in a tile, and in a larger one around it.

    insight data town town.tif --size 2100 --seed 1
    python benchmarks/border_reach.py town.tif --model scenes-light

Tiles of 512 pixels side by side are compared with tiles of 1024 that have the same centre. The table shows, by the
distance of an object's centre to the border of the smaller tile, the share of the smaller tile's polygons that have one
of the same class in the larger tile at an IoU of 0.5, 0.9 and 0.999. It has three parts, by what GPM reads:

- windows: windows that are fixed in the scene, as `predict_raster` does.
- tile: the tile, as if it were a whole image; the limit on proposals is that of a whole image too.
- nothing: as "windows", but GPM's prompts are silenced.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import torch
from compare_tiles import Objects, best_ious

from insight.geo.detect import pieces_of
from insight.geo.found import piece_polygons
from insight.geo.raster import Raster, Window
from insight.geo.tiles import Tile
from insight.inference.predictor import PromptPredictor
from insight.modeling.prompt.changes import SILENT, ChangedPrompts, PromptChange

SMALL, LARGE = 512, 1024
MODES = ("windows", "tile", "nothing")
DISTANCES = (0, 64, 128, 192, 256)
SCORES = (0.05, 0.5)
IOUS = (0.5, 0.9, 0.999)


def main() -> None:
    """Compare the tiles and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raster", type=Path)
    parser.add_argument("--model", required=True, help="name or folder of a detector")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    raster = Raster(args.raster)
    predictor = PromptPredictor.from_pretrained(args.model, "cpu", score_threshold=0.05).for_tiles()
    rows = []
    for mode in args.modes:
        for row in compare(raster, predictor, mode):
            rows.append(row)
            print(json.dumps(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def compare(raster: Raster, predictor: PromptPredictor, mode: str) -> Iterator[dict[str, Any]]:
    """The rows of a mode."""
    around = (LARGE - SMALL) // 2
    distances, scores, ious = [], [], []
    silenced = mode == "nothing"
    with ChangedPrompts(predictor.model, PromptChange(SILENT, "GPM")) if silenced else nullcontext():
        for y in range(around, raster.height - SMALL - around + 1, SMALL):
            for x in range(around, raster.width - SMALL - around + 1, SMALL):
                small, large = (
                    detect(raster, predictor, (x - more, y - more, x + SMALL + more, y + SMALL + more), mode)
                    for more in (0, around)
                )
                centres = shapely.get_coordinates(shapely.centroid(small.polygons)) - (x, y)
                distances += np.minimum(centres, SMALL - centres).min(1).tolist()
                scores += small.scores.tolist()
                ious += best_ious(small, large).tolist()
    away, surely, best = map(np.array, (distances, scores, ious))
    for score in SCORES:
        for low, high in zip(DISTANCES, DISTANCES[1:]):
            chosen = best[(away >= low) & (away < high) & (surely >= score)]
            shares = {f"IoU {least}": round(100 * float((chosen >= least).mean()), 1) for least in IOUS}
            yield {"GPM reads": mode, "score": score, "distance": [low, high], "polygons": len(chosen), **shares}


@torch.no_grad()
def detect(raster: Raster, predictor: PromptPredictor, window: Window, mode: str) -> Objects:
    """What is found in a window, in pixels of the raster."""
    pixels = raster.read(window)
    if mode == "tile":
        predictor.set_image(pixels)
    else:
        predictor.set_tile(pixels, window[:2])
    pieces = [piece for piece in pieces_of(predictor.detect(), Tile(0, 0, window, window)) if piece is not None]
    classes, scores = ([getattr(piece, name) for piece in pieces] for name in ("class_id", "score"))
    return Objects(piece_polygons(pieces), np.array(classes, int), np.array(scores, float))


if __name__ == "__main__":
    main()
