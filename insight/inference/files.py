"""Prediction on image files: an overlay picture for each, one COCO JSON file for all."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances

from insight.data.formats.images import SUFFIXES, read_image, write_png
from insight.runtime.file_names import safe_name
from insight.runtime.progress import progress
from insight.visualization.overlays import draw_instances

from .coco_results import CocoResults
from .file_predictor import FilePredictor
from .prompt_files import BoxPrompts

_logger = logging.getLogger(__name__)


def find_images(inputs: Sequence[str]) -> list[Path]:
    """The image files that a person means.

    Args:
        inputs: files, folders (the images directly in them, without hidden files) and glob patterns.

    Returns:
        The files, each once, in order of input and then of name.

    Raises:
        ValueError: an input is no file, folder or pattern that finds something, or a folder has no images.
    """
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if _is_image(p))
            if not files:
                raise ValueError(f"{path}: the folder has no images ({' '.join(SUFFIXES)})")
        else:
            files = [path] if path.is_file() else _matches(text)
            if not files:
                raise ValueError(f"{text}: no such image file or folder")
        found.update(dict.fromkeys(files))
    return list(found)


def _matches(pattern: str) -> list[Path]:
    return [Path(p) for p in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(p)]


def _is_image(path: Path) -> bool:
    # Hidden are the companions ._NAME of macOS, which hold no pixels.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def predict_files(
    predictor: FilePredictor,
    images: Sequence[Path],
    output: str | os.PathLike,
    prompts: BoxPrompts | dict[str, BoxPrompts] | None = None,
    settings: dict[str, Any] | None = None,
) -> tuple[int, dict[Path, str]]:
    """Predict on image files with a progress bar.

    Writes `overlays/<name>.png` for each image and `predictions.json` for all, in `output`. A run that was killed goes
    on where it stopped when started again with the same settings; files that have changed, and others of the same
    name, are answered anew. A file that cannot be used is left out, and has no picture.

    Args:
        predictor: the model.
        images: the files; their names must differ, as `prompts` and the results know them by these.
        output: the folder to write to.
        prompts: for every image, or by file name; None detects without prompts. Images that have no entry are left
            out, with a warning.
        settings: what else the results depend on, as JSON values.

    Returns:
        How many images were answered, and the files that could not be used, and why. If none could be used, nothing
        was written, and the results of an earlier run stay.

    Raises:
        ValueError: two images of the same name, or boxes for a name that no image has.
    """
    by_name = {path.name: path for path in images}
    if len(by_name) < len(images):
        twice = next(path for path in images if by_name[path.name] != path)
        raise ValueError(f"two images are named {twice.name}: {twice} and {by_name[twice.name]}; predict them apart")
    if isinstance(prompts, dict):
        unknown = sorted(prompts.keys() - by_name.keys())
        if unknown:
            raise ValueError(
                f"--boxes-json has boxes for {unknown[0]} ({len(unknown)} such), but no image has that name"
            )
        unasked = sorted(by_name.keys() - prompts.keys())
        if unasked:
            _logger.warning(f"{len(unasked)} images have no boxes and are left out ({unasked[0]} first)")
        by_name = {name: path for name, path in by_name.items() if name in prompts}
        settings = {**(settings or {}), "boxes": {name: one.to_json() for name, one in prompts.items()}}
    elif prompts is not None:
        settings = {**(settings or {}), "boxes": prompts.to_json()}
    output = Path(output)
    states = {name: _state(path) for name, path in by_name.items()}
    results = CocoResults(output / "predictions.json", predictor.class_names, settings or {}, states)
    stems = Counter(path.stem for path in by_name.values())
    failures: dict[Path, str] = {}
    outdated = []
    for name, path in progress(by_name.items(), "Predicting", "image"):
        if name in results:
            continue
        overlay = output / "overlays" / safe_name(path.stem if stems[path.stem] == 1 else name, ".png")
        try:
            image = read_image(path)
            asked = prompts.get(name) if isinstance(prompts, dict) else prompts
            instances = predictor.answer(image, asked)
        except (OSError, ValueError) as error:
            failures[path] = str(error) if str(path) in str(error) else f"{path}: {error}"
            outdated.append(overlay)
            continue
        write_png(overlay, _draw(image, instances, predictor.class_names, asked))
        results.add(name, instances, [] if asked is None else asked.corners.flatten(1).tolist())
    if failures and len(failures) == len(by_name):
        results.discard()
        return 0, failures
    for overlay in outdated:
        overlay.unlink(missing_ok=True)  # of an earlier run, whose results are gone
    results.finish()
    return len(by_name) - len(failures), failures


def _state(path: Path) -> list | None:
    """What changes with the file; None if it cannot be looked at, which is told when its turn comes."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]


def _draw(image: np.ndarray, instances: Instances, class_names: list[str], asked: BoxPrompts | None) -> np.ndarray:
    classes = instances.pred_classes.tolist()
    labels = [f"{class_names[c]} {score:.2f}" for c, score in zip(classes, instances.scores.tolist())]
    masks = instances.pred_masks if instances.has("pred_masks") else None
    boxes = instances.pred_boxes.tensor.numpy()
    if asked is not None and len(asked.corners):  # as they were asked for
        boxes = [*boxes[: len(asked.boxes)], *asked.corners.flatten(1).numpy()]
    return draw_instances(image, masks, boxes, labels, classes if len(class_names) > 1 else None)
