"""Prediction on image files: an overlay for each image, and one COCO JSON file for all."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from insight.data.formats.file_check import first
from insight.data.formats.images import image_size, read_image, write_png
from insight.errors import InputError, InsightError
from insight.runtime.digests import file_digest
from insight.runtime.file_names import safe_name, with_name
from insight.runtime.locks import output_folder
from insight.runtime.progress import progress
from insight.runtime.words import counted
from insight.structures.prompts import parse_prompts

from .coco_results import CocoResults
from .prediction import Prediction
from .prompt_files import BoxPrompts

_logger = logging.getLogger(__name__)


class FilePredictor(NamedTuple):
    """A model for prediction on files.

    Attributes:
        class_names: names of its classes.
        answer: (image (H, W, 3) uint8 RGB, prompts or None) -> Prediction, one instance for each prompt in order, or
            the detections without prompts.
    """

    class_names: list[str]
    answer: Callable[[np.ndarray, BoxPrompts | None], Prediction]


def predict_files(
    predictor: FilePredictor,
    images: Sequence[Path],
    output: str | os.PathLike,
    prompts: BoxPrompts | dict[str, BoxPrompts] | None = None,
    settings: dict[str, Any] | None = None,
) -> tuple[int, dict[Path, str]]:
    """Predict on image files, with a progress bar.

    Writes `overlays/<name>.png` for each image and `predictions.json` for all to `output`. An interrupted run resumes
    when it is started again with the same settings; images whose content has changed are predicted again. A file
    that cannot be used is skipped and gets no overlay. The folder is locked during the run.

    Args:
        predictor: the model.
        images: the files. Results and `prompts` refer to them by file name, or, where names repeat, by their path
            relative to the folder that contains all images.
        output: the folder to write to.
        prompts: for every image, or by name; None detects without prompts. Images without an entry are skipped, with a
            warning.
        settings: everything else that the results depend on, as JSON values.

    Returns:
        The number of predicted images, and the reason for each file that could not be used. If no file could be used,
        nothing is written and the results of an earlier run are kept.

    Raises:
        InputError: an image is given twice, or prompts name an unknown image.
        BlockingIOError: another process is writing to the folder.
    """
    by_name = named_images(images, prompts)
    if isinstance(prompts, dict):
        unasked = sorted(by_name.keys() - prompts.keys())
        if unasked:
            _logger.warning(f"skipped {counted(len(unasked), 'image')} without boxes ({unasked[0]} first)")
        by_name = {name: path for name, path in by_name.items() if name in prompts}
        settings = {**(settings or {}), "boxes": {name: one.to_json() for name, one in prompts.items()}}
    elif prompts is not None:
        settings = {**(settings or {}), "boxes": prompts.to_json()}
    with output_folder(output) as folder:
        return _predict_to(folder, predictor, by_name, prompts, settings or {})


def _predict_to(
    output: Path,
    predictor: FilePredictor,
    by_name: dict[str, Path],
    prompts: BoxPrompts | dict[str, BoxPrompts] | None,
    settings: dict[str, Any],
) -> tuple[int, dict[Path, str]]:
    """`predict_files` in a folder that is locked, on images by name."""
    states = {name: _digest(path) for name, path in by_name.items()}
    results = CocoResults(output / "predictions.json", predictor.class_names, settings, states)
    pictures = _pictures(list(by_name))
    failures: dict[Path, str] = {}
    outdated = []
    for name, path in progress(by_name.items(), "Predicting", "image"):
        if name in results:
            continue
        overlay = output / "overlays" / pictures[name]
        try:
            image = read_image(path)
            prediction = predictor.answer(image, prompts.get(name) if isinstance(prompts, dict) else prompts)
        except (OSError, InsightError) as error:
            failures[path] = with_name(path, str(error))
            outdated.append(overlay)
            continue
        write_png(overlay, prediction.plot(image))
        results.add(name, prediction)
    if failures and len(failures) == len(by_name):
        results.discard()
        return 0, failures
    for overlay in outdated:
        overlay.unlink(missing_ok=True)  # of an earlier run whose results are gone
    results.finish()
    return len(by_name) - len(failures), failures


def unusable_images(
    images: Sequence[Path], prompts: BoxPrompts | dict[str, BoxPrompts] | None = None, name: str = "prompts"
) -> dict[Path, str]:
    """Check, before a model is loaded, whether any image can be predicted. Pixels are not decoded.

    Args:
        images, prompts, name: as in `named_images`.

    Returns:
        The reason for each image, if none can be used; empty as soon as one can.

    Raises:
        InputError: as `named_images`.
    """
    reasons = {}
    for key, path in named_images(images, prompts, name).items():
        own = prompts.get(key) if isinstance(prompts, dict) else prompts
        if own is None and prompts is not None:
            continue
        try:
            size = image_size(path)
            if own is not None:
                parse_prompts(size, own.boxes, own.corners)
        except (OSError, InputError) as error:
            reasons[path] = with_name(path, str(error))
        else:
            return {}
    return reasons


def named_images(
    images: Sequence[Path], prompts: BoxPrompts | dict[str, BoxPrompts] | None = None, name: str = "prompts"
) -> dict[str, Path]:
    """Name images as `names_of`, and check that prompts by name are of them.

    Args:
        images, prompts: as in `predict_files`.
        name: name of the prompts in error messages.

    Returns:
        The image of each name.

    Raises:
        InputError: an image is given twice, or prompts name an unknown image.
    """
    by_name = names_of(images)
    unknown = sorted(prompts.keys() - by_name.keys()) if isinstance(prompts, dict) else []
    if unknown:
        raise InputError(
            f"{name}: no image is named {first(map(repr, unknown))}; expected file names of images: "
            f"{first(map(repr, by_name))}"
        )
    return by_name


def names_of(images: Sequence[Path]) -> dict[str, Path]:
    """Name files in results.

    Args:
        images: the files.

    Returns:
        The name of each: its file name, or if others have the same file name its path relative to the folder that
        contains all files.

    Raises:
        InputError: a file is given twice.
    """
    counts = Counter(path.name for path in images)
    if max(counts.values(), default=1) > 1:
        root = os.path.commonpath([path.absolute().parent for path in images])
    named: dict[str, Path] = {}
    for path in images:
        name = path.name if counts[path.name] == 1 else os.path.relpath(path.absolute(), root)
        if name in named:
            raise InputError(f"images: {path} is given twice")
        named[name] = path
    return named


def _pictures(names: Sequence[str]) -> dict[str, str]:
    """The file name of each image's overlay, one that every file system can hold."""
    stems = Counter(os.path.splitext(name)[0] for name in names)
    pictures = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        picture = stem if stems[stem] == 1 else name
        folder, last = os.path.split(picture)
        pictures[name] = os.path.join(folder, safe_name(last, ".png"))
    return pictures


def _digest(path: Path) -> str | None:
    """The digest of a file's content; None if it cannot be read, which is reported when its turn comes."""
    try:
        return file_digest(path)
    except (OSError, InputError):
        return None
