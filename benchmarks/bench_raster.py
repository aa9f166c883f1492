"""Detection on a raster, end to end, against the model alone on the same tiles and against SAHI.

With few objects a model takes nearly all of the time; `compare_tiles.py` compares with SAHI on a town full of them.
"""

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from harness import Case, Rival

SIZE, TILE, OVERLAP = 1152, 384, 128  # pixels: 16 whole tiles, of which each of two workers gets 8


def cases(device: torch.device) -> Iterator[Case]:
    """A drawn town and the light detector; only time is compared."""
    from insight.geo.raster import Raster

    with tempfile.TemporaryDirectory() as folder:
        raster = Raster(_town(Path(folder, "town.tif")))
        predictor = detector(device)
        rivals = {"the model alone": Rival(functools.partial(_model_alone, raster, predictor), 0.9, tolerance=None)}
        try:
            import sahi  # noqa: F401

            rivals["SAHI"] = Rival(functools.partial(_sahi, raster, predictor), 1.3, tolerance=None)
        except ImportError:
            pass
        yield Case(
            f"{SIZE} x {SIZE} pixels in tiles of {TILE}",
            lambda: _end_to_end(raster, predictor, Path(folder, "found.gpkg")),
            rivals,
            note="ours reads, detects, joins and writes a GeoPackage; a ratio of 0.9 to the model alone is the target",
        )
        if device.type == "cpu" and len(os.sched_getaffinity(0)) > 1:
            one, two = (
                functools.partial(_end_to_end, raster, predictor, Path(folder, f"{workers}.gpkg"), workers)
                for workers in (1, 2)
            )
            yield Case(
                f"{SIZE} x {SIZE} pixels in tiles of {TILE}, two workers",
                two,
                {"one worker": Rival(functools.partial(_on_one_core, one), 1.8, tolerance=None)},
                note="a worker has one thread; the two need two idle cores",
            )


def _town(path: Path) -> Path:
    from insight.geo.town import write_town

    write_town(path, SIZE, seed=1)
    return path


def detector(device: torch.device) -> Any:
    """The shipped detector; without it, the same model with random weights, which finds nothing."""
    from detectron2.modeling import build_model

    from insight.config import load_config
    from insight.errors import InsightError
    from insight.inference.predictor import PromptPredictor

    try:
        return PromptPredictor.from_pretrained(device=str(device), score_threshold=0.05)
    except InsightError:
        cfg = load_config(["scenes"], ["MODEL.DEVICE", str(device), "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.9])
        torch.manual_seed(0)
        return PromptPredictor(build_model(cfg), min_size=cfg.INPUT.MIN_SIZE_TEST)


def _end_to_end(raster: Any, predictor: Any, output: Path, workers: int = 1) -> torch.Tensor:
    from insight.geo.predict import predict_raster

    predict_raster(raster, predictor, tile_size=TILE, overlap=OVERLAP, output=output, workers=workers)
    return torch.zeros(1)


def _on_one_core(work: Callable[[], torch.Tensor]) -> torch.Tensor:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return work()
    finally:
        torch.set_num_threads(threads)


def _model_alone(raster: Any, predictor: Any) -> torch.Tensor:
    from insight.geo.detect import set_tile
    from insight.geo.tiles import TileGrid

    tiles = predictor.for_tiles()
    for tile in TileGrid(raster.size, TILE, OVERLAP):
        set_tile(tiles, raster.read(tile.window), tile)
        tiles.detect()
    return torch.zeros(1)


def _sahi(raster: Any, predictor: Any) -> torch.Tensor:
    from compare_tiles import sahi

    sahi(raster, predictor, TILE, OVERLAP)
    return torch.zeros(1)
