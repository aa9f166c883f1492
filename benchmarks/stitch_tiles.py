"""Stitch tiles of a dataset into one scene of known ground truth, in the form of a drawn town.

    python benchmarks/stitch_tiles.py $INSIGHT_DATA/isaid_tiles train --side 12 --output stitched.tif
    python benchmarks/large_raster.py stitched.tif --tile-sizes 1024 2048 512

Beside stitched.tif, in EPSG:32632 at 0.5 m a pixel, stitched_truth.gpkg has the polygon of the visible mask of every
object, all as one class.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import rasterio

from insight.data.formats.images import read_image
from insight.data.preparation.instance_maps import instance_boxes
from insight.geo.features import feature_table
from insight.geo.found import Piece, from_mask, piece_polygons
from insight.geo.polygons import transform_polygons
from insight.geo.town import CRS, TRANSFORM, truth_path
from insight.geo.writers import write_layer
from insight.structures.rle import RLEMasks, segmentation_to_rle


def main() -> None:
    """Write the scene and its truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder with instances_SPLIT.json and the images in SPLIT/")
    parser.add_argument("split")
    parser.add_argument("--side", type=int, default=12, metavar="N", help="tiles along each side")
    parser.add_argument("--seed", type=int, default=0, help="of the choice and the order of the tiles")
    parser.add_argument("--output", type=Path, required=True, help="the .tif file")
    args = parser.parse_args()
    count = stitch(args.dataset, args.split, args.side, args.seed, args.output)
    print(f"wrote {args.output} with {count} objects")


def stitch(dataset: Path, split: str, side: int, seed: int, output: Path) -> int:
    """Write side x side tiles as one scene; the number of its objects."""
    content = json.loads((dataset / f"instances_{split}.json").read_text())
    by_image = defaultdict(list)
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation["segmentation"])
    order = np.random.default_rng(seed).permutation(len(content["images"]))[: side * side]
    chosen = [content["images"][i] for i in order.tolist()]
    height, width = chosen[0]["height"], chosen[0]["width"]
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": side * height, "width": side * width}
    pixels = np.zeros((side * height, side * width, 3), np.uint8)
    pieces: list[Piece] = []
    for number, image in enumerate(chosen):
        y, x = number // side * height, number % side * width
        pixels[y : y + height, x : x + width] = read_image(dataset / split / image["file_name"])
        pieces += visible(by_image[image["id"]], (height, width), (x, y))
    with rasterio.open(output, "w", **profile, crs=CRS, transform=TRANSFORM, tiled=True) as file:
        file.write(pixels.transpose(2, 0, 1))
    polygons = transform_polygons(piece_polygons(pieces), TRANSFORM)
    count = len(pieces)
    table = feature_table(polygons, CRS, class_ids=[0] * count, categories=["object"], scores=[1.0] * count)
    write_layer(truth_path(output), table, oriented_boxes=False)
    return count


def visible(segmentations: list, size: tuple[int, int], origin: tuple[int, int]) -> list[Piece]:
    """The masks of a tile's objects as far as later ones do not cover them, in pixels of the scene."""
    labels = np.zeros(size, np.int32)
    for number, segmentation in enumerate(segmentations, 1):
        labels[np.asarray(RLEMasks([segmentation_to_rle(segmentation, size)], size))[0]] = number
    pieces = []
    for number, (top, bottom, left, right) in instance_boxes(labels):
        corner = origin[0] + left, origin[1] + top
        pieces.append(from_mask(labels[top:bottom, left:right] == number, corner, 0, 1.0))
    return pieces


if __name__ == "__main__":
    main()
