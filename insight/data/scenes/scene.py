"""Draws a scene: picks kind, look and resolution, draws the layout, reads the exact masks off the canvas."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from insight.errors import InputError

from . import apron, boneyard, car_park, crossing, harbour, residential, sensors, sports_park, tank_farm
from .canvas import SUPERSAMPLE, Canvas

CATEGORIES = (
    "ship", "airplane", "vehicle", "storage_tank", "helicopter", "swimming_pool", "court",
    "pier", "bridge", "sports_field", "roundabout",
)  # fmt: skip
LOOKS = ("optical", "sar")
_LAYOUTS = {
    "harbour": harbour,
    "apron": apron,
    "car_park": car_park,
    "tank_farm": tank_farm,
    "residential": residential,
    "crossing": crossing,
    "sports_park": sports_park,
    "boneyard": boneyard,
}
KINDS = tuple(_LAYOUTS)

_LEAST_PIXELS = 10  # smaller visible rests, at the image border or under trees, are no instances
_LEAST_SIZE = 32
_MOST_OBLIQUE = 45  # degrees


@dataclass(frozen=True)
class SceneInstance:
    """One object of a scene.

    Args:
        category: one of CATEGORIES.
        box: (x, y, w, h) int, pixels: the tight box of the visible mask; pixel i covers [i, i + 1).
        mask: (h, w) bool, the visible pixels inside the box. Shadows, wakes and radar smear are no part of it.
        oriented_box: (cx, cy, w, h, angle), pixels and degrees: the tight box of the visible mask along the object's
            own axes, w along its length. The angle is Detectron2's (RotatedBoxes): counter-clockwise as one sees
            the image, in [-90, 90); cv2.RotatedRect's is its negative.
    """

    category: str
    box: tuple[int, int, int, int]
    mask: np.ndarray
    oriented_box: tuple[float, float, float, float, float]

    def full_mask(self, size: tuple[int, int]) -> np.ndarray:
        """The mask as an (H, W) bool array of the whole image."""
        x, y, w, h = self.box
        result = np.zeros(size, bool)
        result[y : y + h, x : x + w] = self.mask
        return result


@dataclass(frozen=True)
class Scene:
    """A drawn scene.

    Args:
        image: (H, W, 3) uint8 RGB; the three channels of a SAR look are equal.
        instances: in the order in which they were painted.
        kind: one of KINDS.
        look: one of LOOKS.
        gsd: ground sampling distance, metres a pixel.
        off_nadir: angle between the line of sight and the vertical, degrees; 0 for a SAR look.
    """

    image: np.ndarray
    instances: list[SceneInstance]
    kind: str
    look: str
    gsd: float
    off_nadir: float


def draw_scene(
    seed: int,
    size: tuple[int, int] = (512, 512),
    kind: str | None = None,
    look: str | None = None,
    off_nadir: float | None = None,
    *,
    zoom: float = 1.0,
    worn: bool = False,
) -> Scene:
    """Draw the scene of a seed: the same arguments give the same scene, in any process and with any thread count.

    Args:
        seed: non-negative.
        size: (height, width), pixels, at least 32 each.
        kind: one of KINDS; None: the seed decides.
        look: one of LOOKS; None: the seed decides (one in five is SAR).
        off_nadir: angle between the line of sight and the vertical, 0 to 45 degrees; None: the seed decides, up to 28.
        zoom: factor by which objects are longer, in pixels, than at the usual ground sampling distances of the kind.
        worn: objects of an optical look have dirt, second colours and things on deck, see `wear`.

    Returns:
        The scene; it may hold no instance at all.

    Raises:
        InputError: an argument is out of range.
    """
    if seed < 0:
        raise InputError(f"seed: expected 0 or more, got {seed}")
    if len(size) != 2 or min(size) < _LEAST_SIZE:
        raise InputError(f"size: expected (height, width), each at least {_LEAST_SIZE} pixels, got {tuple(size)}")
    rng = np.random.default_rng([seed, *size])
    drawn_kind, drawn_look = KINDS[rng.integers(len(KINDS))], LOOKS[int(rng.random() < 0.2)]
    kind, look = kind or drawn_kind, look or drawn_look
    if kind not in KINDS:
        raise InputError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if look not in LOOKS:
        raise InputError(f"look: expected one of {', '.join(LOOKS)}, got {look!r}")

    if off_nadir is not None and not 0 <= off_nadir <= _MOST_OBLIQUE:
        raise InputError(f"off_nadir: expected 0 to {_MOST_OBLIQUE} degrees, got {off_nadir}")
    if not 0 < zoom < math.inf:
        raise InputError(f"zoom: expected a number above 0, got {zoom}")

    layout = _LAYOUTS[kind]
    gsd = math.exp(rng.uniform(*np.log(layout.GSD))) / zoom
    drawn_angle = 28 * rng.uniform() ** 1.5  # near the vertical more often than not
    off_nadir = drawn_angle if off_nadir is None else off_nadir
    canvas = Canvas(rng, (size[0], size[1]), look, gsd, off_nadir, np.random.default_rng([seed, 1]) if worn else None)
    layout.draw(canvas)
    if canvas.is_sar:
        image = sensors.sar(rng, canvas.image, canvas.size, canvas.away)
    else:
        image = sensors.optical(rng, canvas.image, canvas.size)
    instances = _instances(canvas)
    return Scene(image, instances, kind, look, gsd, 0.0 if canvas.is_sar else off_nadir)


def generator_version() -> str:
    """A short hash of the generator's source: scenes rendered by another generator are other scenes."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def _instances(canvas: Canvas) -> list[SceneInstance]:
    """Visible masks: a pixel belongs to the object that covers at least half of its sub-pixels."""
    height, width = canvas.size
    taken = np.zeros(canvas.size, bool)
    result = []
    for number, placed in enumerate(canvas.instances, start=1):
        # Painting rounds outwards, by less than a pixel.
        x0, y0 = np.maximum(np.floor(placed.low).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(placed.high).astype(int) + 1, (width, height))
        ids = canvas.ids[y0 * SUPERSAMPLE : y1 * SUPERSAMPLE, x0 * SUPERSAMPLE : x1 * SUPERSAMPLE]
        sub = ids == number
        corners = [sub[i::SUPERSAMPLE, j::SUPERSAMPLE] for i in range(SUPERSAMPLE) for j in range(SUPERSAMPLE)]
        count = sum(corner.view(np.uint8) for corner in corners)
        free = ~taken[y0:y1, x0:x1]
        mask = (2 * count >= SUPERSAMPLE**2) & free
        taken[y0:y1, x0:x1] |= mask
        if mask.sum() < _LEAST_PIXELS:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        box = (int(x0 + columns[0]), int(y0 + rows[0]), mask.shape[1], mask.shape[0])
        result.append(SceneInstance(placed.category, box, mask, _oriented_box(mask, box, placed.heading)))
    return result


def _oriented_box(
    mask: np.ndarray, box: tuple[int, int, int, int], heading: float
) -> tuple[float, float, float, float, float]:
    """The tight box along `heading` (radians from x to y, y down) of the pixel squares of a mask."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    centres = np.concatenate(contours)[:, 0].astype(float) + (box[0] + 0.5, box[1] + 0.5)
    axes = np.array([[math.cos(heading), math.sin(heading)], [-math.sin(heading), math.cos(heading)]])
    along = centres @ axes.T
    corner = np.abs(axes).sum(axis=1) / 2  # how far the corners of a pixel reach along each axis
    low, high = along.min(axis=0) - corner, along.max(axis=0) + corner
    cx, cy = (low + high) / 2 @ axes
    angle = (-math.degrees(heading) + 90) % 180 - 90
    return float(cx), float(cy), float(high[0] - low[0]), float(high[1] - low[1]), angle
