"""The stretch of a scene's bands to 8 bits, the same for all of its tiles."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insight.errors import InputError
from insight.runtime.inputs import check_input
from insight.runtime.json_values import parse_json

LOW, HIGH = 2.0, 98.0  # percentiles that become 0 and 255

Rescale = str | os.PathLike | Sequence[float] | Sequence[Sequence[float]]


def apply_stretch(pixels: np.ndarray, limits: Sequence[tuple[float, float]]) -> np.ndarray:
    """Stretch bands linearly to 8 bits.

    Args:
        pixels: (bands, H, W) of any real dtype; NaN becomes 0.
        limits: for each band the values that become 0 and 255; where they are equal, the band becomes 0.

    Returns:
        (bands, H, W) uint8.
    """
    result = np.empty(pixels.shape, np.uint8)
    for band, (low, high), out in zip(pixels, limits, result):
        scale = 255 / (high - low) if high > low else 0.0
        values = (band.astype(np.float32) - np.float32(low)) * np.float32(scale)
        out[:] = np.rint(np.clip(np.nan_to_num(values), 0, 255))
    return result


def percentile_limits(pixels: np.ndarray, valid: np.ndarray) -> list[tuple[float, float]]:
    """Compute the limits of a stretch from a sample of pixels.

    Args:
        pixels: (bands, N) sample.
        valid: (bands, N) bool.

    Returns:
        For each band the 2nd and 98th percentile of its valid, finite values; (0, 0) if it has none.
    """
    limits = []
    for band, use in zip(pixels, valid):
        values = band[use & np.isfinite(band)]
        low, high = np.percentile(values.astype(np.float64), [LOW, HIGH]) if len(values) else (0.0, 0.0)
        if low == high and len(values):  # mostly one value, such as zeros around a scene
            low, high = float(values.min()), float(values.max())
        limits.append((float(low), float(high)))
    return limits


def parse_rescale(rescale: Rescale, bands: int | None = None) -> list[tuple[float, float]]:
    """Read the limits of a stretch.

    Args:
        rescale: (low, high) for all bands, such a pair for each band, a text of these numbers with commas, or the
            path of a JSON file with a "rescale", such as the one beside an earlier result.
        bands: number of bands; None if it is not known yet.

    Returns:
        `bands` pairs; without `bands`, those that are given.

    Raises:
        OSError: the file cannot be read.
        InputError: the file is missing, other numbers, or a pair whose first number is not the smaller one.
    """
    given = rescale
    if isinstance(rescale, str | os.PathLike):
        rescale = _from_text(os.fspath(rescale))
    try:
        numbers = np.asarray(rescale, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        numbers = np.zeros((0, 2))
    counts = (1, 3) if bands is None else (bands,)
    if len(numbers) == 1:
        numbers = numbers.repeat(counts[0], 0)
    if len(numbers) not in counts or not np.isfinite(numbers).all() or not (numbers[:, 0] < numbers[:, 1]).all():
        raise InputError(
            f"rescale: expected LOW,HIGH with LOW < HIGH, for all bands or for each of {counts[-1]}, or the .run.json "
            f"of an earlier result, got {given!r:.80}"
        )
    return [(float(low), float(high)) for low, high in numbers]


def _from_text(text: str) -> list:
    path = Path(text)
    if path.suffix.lower() == ".json":
        check_input(path, "rescale")
        content = parse_json(path.read_bytes(), text)
        if not isinstance(content, dict) or content.get("rescale") is None:
            raise InputError(f'rescale: {text} holds no stretch: expected JSON with a "rescale"')
        return content["rescale"]
    try:
        return json.loads(f"[{text}]")
    except ValueError:
        return []
