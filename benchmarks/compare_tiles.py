"""Compare ways to detect on a large raster in tiles: ours, SAHI's, and tiles with box NMS, by the same detector.

    insight data town town.tif --size 2000
    python benchmarks/compare_tiles.py town.tif --model scenes-light
    python benchmarks/compare_tiles.py town.tif --model ideal

The model "ideal" finds exactly what a tile shows of every object, so that the columns measure the tiling alone. SAHI is
used if it is installed (pip install sahi). Every way runs in a process of its own. The table's columns:

- objects: number of polygons.
- twice: pairs of polygons of one class that share half of the smaller one.
- cut: polygons that end at a border of a window, within a pixel, where the object that they show goes on.
- AP50 seams, AP50 inside: average precision at IoU 0.5, over all classes, of the objects that touch a strip of 64
  pixels around a border of our tiles of 1024, and of the others.
- seconds, GiB: processor time without loading the model, and the peak of the process's memory.

Ours is run with several tile sizes, and a second table compares their polygons with each other.
"""

import argparse
import json
import logging
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import shapely
import torch
from affine import Affine
from harness import resident
from rasterio.features import rasterize
from rasterio.windows import Window

from insight.data.preparation.instance_maps import instance_boxes
from insight.data.scenes import CATEGORIES
from insight.geo.raster import Raster
from insight.geo.tiles import OVERLAP, TileGrid
from insight.geo.town import truth_path
from insight.inference.prediction import Prediction
from insight.structures.rle import RLEMasks, encode_crop

TILE, SEAM = 1024, 32  # pixels: of the rivals and of the strips; to either side of a border
IDEAL, _ID_BITS = "ideal", 20
_STRIP = 512  # rows that are drawn at a time
WAYS = ("ours 512", "ours 1024", "ours 2048", "SAHI 1024", "NMS 1024")


class IdealDetector:
    """Finds what a tile of a raster of labels shows of every object; larger parts have higher scores."""

    class_names = CATEGORIES

    def for_tiles(self) -> "IdealDetector":
        return self

    def set_image(self, image: np.ndarray) -> None:
        self._codes = image.astype(np.int64) @ (1 << np.array([16, 8, 0]))

    def detect(self) -> Prediction:
        size = self._codes.shape
        boxes, masks, scores, classes = [], [], [], []
        for code, (top, bottom, left, right) in instance_boxes(self._codes):
            mask = self._codes[top:bottom, left:right] == code
            boxes.append([left, top, right, bottom])
            masks.append(encode_crop(mask, (left, top), size))
            scores.append(0.5 + 0.5 * mask.sum() / (mask.sum() + 50))
            classes.append(code >> _ID_BITS)
        return Prediction(
            size,
            boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            scores=torch.tensor(scores, dtype=torch.float32),
            masks=RLEMasks(masks, size),
            class_ids=torch.tensor(classes, dtype=torch.int64),
            categories=CATEGORIES,
        )


def write_labels(truth: "Objects", raster: Raster, path: Path) -> Path:
    """Write a raster whose colours are the classes and numbers of objects."""
    values = (truth.classes.astype(np.int64) << _ID_BITS) + np.arange(1, len(truth.classes) + 1)
    tree = shapely.STRtree(truth.polygons)
    profile = {"driver": "GTiff", "count": 3, "height": raster.height, "width": raster.width, "dtype": "uint8"}
    place = {"crs": raster.crs, "transform": raster.transform}
    layout = {"tiled": True, "blockxsize": _STRIP, "blockysize": _STRIP, "compress": "deflate", "zlevel": 1}
    with rasterio.open(path, "w", **profile, **place, **layout) as file:
        for top in range(0, raster.height, _STRIP):
            height = min(_STRIP, raster.height - top)
            index = np.sort(tree.query(shapely.box(0, top, raster.width, top + height)))  # later ones lie on top
            shapes = list(zip(truth.polygons[index], values[index].tolist()))
            size, shift = (height, raster.width), Affine.translation(0, top)
            labels = rasterize(shapes, size, transform=shift, dtype=np.int32) if shapes else np.zeros(size, np.int32)
            bands = np.stack([labels >> 16, labels >> 8 & 255, labels & 255]).astype(np.uint8)
            file.write(bands, window=Window(0, top, raster.width, height))
    return path


class Objects(NamedTuple):
    """Polygons in pixels, (N,) each."""

    polygons: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def main() -> None:
    """Run the ways and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raster", type=Path, help="a town, next to its ground truth")
    parser.add_argument("--model", required=True, help="name or folder of a detector, or ideal")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        _run_one(args.one, args.raster, args.model, args.result)
        return
    if find_spec("sahi") is None:
        args.ways = [way for way in args.ways if not way.startswith("SAHI")]
        print("SAHI is not installed, and left out", file=sys.stderr)
    raster = Raster(args.raster)
    truth = read_truth(raster)
    rows, found = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = write_labels(truth, raster, Path(folder, "labels.tif")) if args.model == IDEAL else args.raster
        for way in args.ways:
            result = Path(folder, "result")
            command = [sys.executable, __file__, str(path), "--model", args.model, "--one", way]
            subprocess.run([*command, "--result", str(result)], check=True)
            objects, seconds, memory = pickle.loads(result.read_bytes())
            found[way] = objects
            rows[way] = {**measures(objects, truth, raster, way), "seconds": seconds, "GiB": memory / 2**30}
            print(way, json.dumps(rows[way]), flush=True)
    ours = [way for way in args.ways if way.startswith("ours")]
    pairs = {f"{a} and {b[5:]}": agreement(found[a], found[b]) for a, b in zip(ours, ours[1:])}
    for name, pair in pairs.items():
        print(name, json.dumps(pair))
    if args.json:
        args.json.write_text(json.dumps({"truth": len(truth.polygons), "ways": rows, "pairs": pairs}, indent=1))


def _run_one(way: str, path: Path, model: str, result: Path) -> None:
    from insight.inference.predictor import PromptPredictor

    logging.basicConfig(level=logging.WARNING)
    kind, side = way.split()
    raster = Raster(path)
    predictor = (
        IdealDetector() if model == IDEAL else PromptPredictor.from_pretrained(model, "cpu", score_threshold=0.05)
    )
    predictor.for_tiles().set_image(raster.read((0, 0, min(64, raster.width), min(64, raster.height))))  # warm up
    start = time.process_time()
    with torch.no_grad():
        objects = {"ours": ours, "SAHI": sahi, "NMS": tiles_and_nms}[kind](raster, predictor, int(side))
    seconds = time.process_time() - start
    result.write_bytes(pickle.dumps((objects, seconds, resident("VmHWM"))))


def ours(raster: Raster, predictor: Any, side: int) -> Objects:
    """`predict_raster`."""
    from insight.geo.predict import predict_raster

    table = predict_raster(raster, predictor, tile_size=side)
    assert table is not None
    return in_pixels(table, raster)


def sahi(raster: Raster, predictor: Any, side: int, overlap: int = OVERLAP) -> Objects:
    """SAHI's sliced prediction with its defaults, but without the prediction on the whole image."""
    from sahi.models.detectron2 import Detectron2DetectionModel
    from sahi.predict import get_sliced_prediction

    tiles = predictor.for_tiles()

    class Model(Detectron2DetectionModel):
        def load_model(self) -> None:
            self.category_names = list(predictor.class_names)
            self.model = self.detect

        def detect(self, image: np.ndarray) -> dict:
            tiles.set_image(image)
            instances = tiles.detect().to_instances()
            instances.pred_masks = torch.from_numpy(np.asarray(instances.pred_masks))
            return {"instances": instances}

        def check_dependencies(self, *_: Any) -> None:
            pass

    Model.detect.input_format = "RGB"  # type: ignore[attr-defined]
    mapping = {str(i): name for i, name in enumerate(predictor.class_names)}
    model = Model(confidence_threshold=0.1, device="cpu", category_mapping=mapping, load_at_init=True)
    image = raster.read((0, 0, raster.width, raster.height))
    found = get_sliced_prediction(
        image,
        model,
        slice_height=side,
        slice_width=side,
        overlap_height_ratio=overlap / side,
        overlap_width_ratio=overlap / side,
        perform_standard_pred=False,
        verbose=0,
    )
    polygons, classes, scores = [], [], []
    for one in found.object_prediction_list:
        rings = [np.array(ring).reshape(-1, 2) for ring in one.mask.segmentation if len(ring) >= 6] if one.mask else []
        if rings:
            polygons.append(
                shapely.make_valid(shapely.union_all([shapely.make_valid(shapely.Polygon(r)) for r in rings]))
            )
            classes.append(one.category.id)
            scores.append(one.score.value)
    return Objects(np.array(polygons, object), np.array(classes, int), np.array(scores, float))


def tiles_and_nms(raster: Raster, predictor: Any, side: int) -> Objects:
    """Detections of all tiles, and non-maximum suppression of their boxes by class."""
    from torchvision.ops import batched_nms

    from insight.geo.detect import pieces_of
    from insight.geo.found import piece_polygons

    tiles, pieces = predictor.for_tiles(), []
    for tile in TileGrid(raster.size, side):
        tiles.set_image(raster.read(tile.window))
        pieces += [piece for piece in pieces_of(tiles.detect(), tile) if piece is not None]
    boxes = torch.tensor([piece.box for piece in pieces], dtype=torch.float32).reshape(-1, 4)
    classes = torch.tensor([piece.class_id for piece in pieces], dtype=torch.int64)
    scores = torch.tensor([piece.score for piece in pieces])
    keep = batched_nms(boxes, scores, classes, 0.5)
    return Objects(piece_polygons([pieces[i] for i in keep.tolist()]), classes[keep].numpy(), scores[keep].numpy())


def read_truth(raster: Raster) -> Objects:
    """The objects of a town."""
    import geopandas

    return in_pixels(geopandas.read_file(truth_path(raster.path)), raster)


def in_pixels(table: Any, raster: Raster) -> Objects:
    """A table of objects, its polygons in pixels of the raster."""
    inverse = ~raster.transform
    moved = shapely.transform(table.geometry.to_numpy(), lambda points: np.stack(inverse * points.T, 1))
    return Objects(moved, table.class_id.to_numpy(), table.score.to_numpy())


def measures(found: Objects, truth: Objects, raster: Raster, way: str) -> dict[str, float]:
    """The columns of the table that are about polygons."""
    strips = shapely.union_all([shapely.buffer(line, SEAM) for line in borders(TileGrid(raster.size, TILE), raster)])
    at_seams = shapely.intersects(truth.polygons, strips)
    grid = TileGrid(raster.size, int(way.split()[1]))
    return {
        "objects": len(found.polygons),
        "twice": twice(found),
        "cut": cut(found, truth, grid, raster),
        "AP50 seams": average_precision(found, truth, at_seams),
        "AP50 inside": average_precision(found, truth, ~at_seams),
    }


def borders(grid: TileGrid, raster: Raster) -> Iterator[shapely.LineString]:
    """The borders between the cores of tiles."""
    for index in range(1, grid.x.count):
        x = grid.x.core(index)[0]
        yield shapely.LineString([(x, 0), (x, raster.height)])
    for index in range(1, grid.y.count):
        y = grid.y.core(index)[0]
        yield shapely.LineString([(0, y), (raster.width, y)])


def pairs_of(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of polygons that touch, and the areas that they share."""
    first, second = shapely.STRtree(b).query(a, predicate="intersects")
    return first, second, shapely.area(shapely.intersection(a[first], b[second]))


def twice(found: Objects) -> int:
    """Pairs of polygons of one class that share half of the smaller one."""
    first, second, common = pairs_of(found.polygons, found.polygons)
    smaller = np.minimum(*(shapely.area(found.polygons[index]) for index in (first, second)))
    return int(((first < second) & (found.classes[first] == found.classes[second]) & (common > 0.5 * smaller)).sum())


def cut(found: Objects, truth: Objects, grid: TileGrid, raster: Raster) -> int:
    """Polygons that end at the border of a window although most of the rest of their object lies beyond."""
    lines = []
    for axis, length, turn in ((grid.x, raster.height, False), (grid.y, raster.width, True)):
        for index in range(axis.count):
            for place in axis.window(index):
                if 0 < place < axis.length:
                    ends = [(place, 0), (place, length)]
                    lines.append(shapely.LineString([end[::-1] for end in ends] if turn else ends))
    if not lines:
        return 0
    near = shapely.boundary(found.polygons)
    along = shapely.length(shapely.intersection(near, shapely.buffer(shapely.union_all(lines), 1)))
    ends_there = along >= 5  # pixels
    first, second, common = pairs_of(found.polygons, truth.polygons)
    missing = common < 0.7 * shapely.area(truth.polygons[second])
    shown = common > 0.5 * shapely.area(found.polygons[first])
    return len(set(first[ends_there[first] & missing & shown].tolist()))


def average_precision(found: Objects, truth: Objects, counted: np.ndarray, least: float = 0.5) -> float:
    """Mean over classes of the average precision in percent; matches of truth that does not count are left out."""
    first, second, common = pairs_of(found.polygons, truth.polygons)
    union = shapely.area(found.polygons[first]) + shapely.area(truth.polygons[second]) - common
    good = (common / union >= least) & (found.classes[first] == truth.classes[second])
    iou = (common / union)[good]
    candidates: dict[int, list[tuple[float, int]]] = {}
    for i, j, value in zip(first[good].tolist(), second[good].tolist(), iou.tolist()):
        candidates.setdefault(i, []).append((value, j))
    # What matches nothing counts where it lies: with the objects of the strips or with the others.
    region = shapely.STRtree(truth.polygons)
    precisions = []
    for class_id in np.unique(truth.classes[counted]):
        index = np.flatnonzero(found.classes == class_id)
        index = index[np.argsort(-found.scores[index], kind="stable")]
        taken: set[int] = set()
        hits = []
        for i in index.tolist():
            match = next((j for _, j in sorted(candidates.get(i, []), reverse=True) if j not in taken), None)
            if match is not None:
                taken.add(match)
                if counted[match]:
                    hits.append(True)
            elif counted[region.nearest(found.polygons[i])]:
                hits.append(False)
        total = int((counted & (truth.classes == class_id)).sum())
        true = np.cumsum(hits)
        precision = true / np.arange(1, len(hits) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        recall = true / total
        grid = np.searchsorted(recall, np.linspace(0, 1, 101)) if len(hits) else np.array([], int)
        precisions.append(
            float(np.mean([envelope[k] if k < len(envelope) else 0.0 for k in grid])) if len(grid) else 0.0
        )
    return 100 * float(np.mean(precisions)) if precisions else float("nan")


def agreement(a: Objects, b: Objects) -> dict[str, float]:
    """How alike two results are: numbers of polygons, and the share of a's that b has at IoU 0.999 and at 0.5."""
    best = best_ious(a, b)
    shares = {f"IoU {least}": 100 * float((best >= least).mean()) for least in (0.5, 0.9, 0.99, 0.999)}
    return {"objects": len(a.polygons), "others": len(b.polygons), **shares}


def best_ious(a: Objects, b: Objects) -> np.ndarray:
    """(N,) the IoU of each polygon of a with the one of the same class in b that is most alike; 0 without one."""
    first, second, common = pairs_of(a.polygons, b.polygons)
    union = shapely.area(a.polygons[first]) + shapely.area(b.polygons[second]) - common
    same = a.classes[first] == b.classes[second]
    best = np.zeros(len(a.polygons))
    np.maximum.at(best, first[same], (common / union)[same])
    return best


if __name__ == "__main__":
    main()
