"""A port with cars on the quay and on decks, tanks in a farm and in the middle of roundabouts.

The two of a pair are drawn by the same code on pads of one colour that reach beyond their boxes, and most scenes have
both, so that neither the pixels of a box nor the scene as a whole say which it is.
"""

from __future__ import annotations

import numpy as np

from insight.errors import InputError

from .. import sensors
from ..canvas import Canvas
from ..parts import Material, Part, ellipse, rectangle
from ..scene import Scene, _instances
from ..ships import hull
from ..surroundings import tree
from ..tanks import tank
from ..textures import ASPHALT, CONCRETE, GRASS, WATER
from ..vehicles import car

CONTEXT_CATEGORIES = ("car_on_quay", "car_on_deck", "tank_in_farm", "tank_in_roundabout")

_GSD = 0.35  # metres a pixel
_PAD = Material((150, 148, 144), -17.0)
_ROAD = Material(ASPHALT[1].rgb_high, -20.0)
_LINE = Material((214, 214, 208), -15.0)
_CAR_PAD = (8.0, 5.0)  # metres; a car is up to 5.3 by 2
_TANK_RADIUS, _TANK_PAD = 4.5, 6.5
_LEAST_SIDE = 4  # of what is visible at the border of the image, pixels


def draw_context_scene(seed: int, size: tuple[int, int] = (320, 320)) -> Scene:
    """Draw the context scene of a seed.

    Args:
        seed: non-negative.
        size: (height, width), pixels; at least 128 each.

    Returns:
        The scene, with objects of CONTEXT_CATEGORIES.

    Raises:
        InputError: an argument is out of range.
    """
    if seed < 0:
        raise InputError(f"seed: expected 0 or more, got {seed}")
    if min(size) < 128:
        raise InputError(f"size: expected (height, width), each at least 128 pixels, got {tuple(size)}")
    rng = np.random.default_rng([seed, *size])
    canvas = Canvas(rng, size, "optical", _GSD)
    canvas.shadow_length = min(canvas.shadow_length, 1.1)  # that of a tank must not reach the box of the next
    quay = rng.uniform(-12, 2)
    land = [rectangle(0, quay + canvas.reach, 2.4 * canvas.reach, 2 * canvas.reach)]
    apron = [rectangle(0, quay + 7, 2.4 * canvas.reach, 14)]
    canvas.lay([(None, WATER[rng.integers(4)]), (land, GRASS[rng.integers(3)]), (apron, CONCRETE[rng.integers(3)])])
    _ferries(canvas, quay)
    _cars(canvas, [(x, quay + 7 + rng.uniform(-3, 3)) for x in _spread(rng, 9, 11.0)], "car_on_quay")
    _land(canvas, quay + 14)
    image = sensors.optical(rng, canvas.image, canvas.size)
    found = [instance for instance in _instances(canvas) if min(instance.box[2:]) >= _LEAST_SIDE]
    return Scene(image, found, "context", "optical", _GSD, 0.0)


def _spread(rng: np.random.Generator, count: int, pitch: float) -> np.ndarray:
    """Places in a row across the image, with gaps."""
    places = (np.arange(count) - (count - 1) / 2) * pitch + rng.uniform(-2, 2)
    return places[rng.random(count) < 0.7]


def _ferries(canvas: Canvas, quay: float) -> None:
    """Ships along the quay and beyond, with cars on their decks."""
    rng = canvas.rng
    decks = []
    for row in range(2):
        y = quay - 11 - 20 * row
        for x in (-34, 0, 34) + rng.uniform(-3, 3, 3):
            if rng.random() < 0.2:
                continue
            outline, deck = hull(31, 15, 0.25, 0.9), hull(29.5, 13.5, 0.25, 0.9)
            shade = rng.uniform(0.75, 1.05)
            parts = [
                Part(outline, Material((196, 196, 192), 2.0).shaded(shade), 1.5),
                Part(deck, Material((128, 92, 78), 0.0).shaded(shade), solid=False),
            ]
            canvas.place(parts, x, y, np.pi * rng.integers(2))
            decks += [(x + step, y + rng.uniform(-1, 1)) for step in (-5, 5) if rng.random() < 0.7]
    canvas.flush()
    _cars(canvas, decks, "car_on_deck")


def _cars(canvas: Canvas, places: list[tuple[float, float]], category: str) -> None:
    rng = canvas.rng
    canvas.paint([rectangle(x, y, *_CAR_PAD) for x, y in places], _PAD)
    for x, y in places:
        canvas.place(car(rng), x, y, np.pi * rng.integers(2) + rng.normal(0, 0.04), category)
    canvas.flush()


def _land(canvas: Canvas, edge: float) -> None:
    """Tank farms and roundabouts, side by side in random order, and trees between them."""
    rng = canvas.rng
    x = -64 + rng.uniform(0, 8)
    for _ in range(4):
        y = edge + 20 + rng.uniform(-2, 8)
        (_farm if rng.random() < 0.5 else _roundabout)(canvas, x + 16, y)
        x += 33
    for _ in range(30):
        place = rng.uniform(-1, 1) * canvas.reach, edge + rng.uniform(0, 1) * canvas.reach
        if not canvas.covered(*place, 9):
            canvas.place(tree(rng, rng.uniform(1.0, 2.5)), *place, 0.0)
    canvas.flush()


def _farm(canvas: Canvas, x: float, y: float) -> None:
    """Four tanks within bunds."""
    canvas.paint([rectangle(x, y, 31, 31)], Material((170, 148, 116), -13.0))
    ends = np.array([(-15.5, -15.5), (15.5, -15.5), (15.5, 15.5), (-15.5, 15.5)]) + (x, y)
    cross = np.array([[(x - 15.5, y), (x + 15.5, y)], [(x, y - 15.5), (x, y + 15.5)]])
    canvas.lines(np.concatenate([np.stack([ends, np.roll(ends, -1, axis=0)], axis=1), cross]), 1.0, _LINE.shaded(0.8))
    _tanks(canvas, [(x + dx, y + dy) for dx in (-7.6, 7.6) for dy in (-7.6, 7.6)], "tank_in_farm")


def _roundabout(canvas: Canvas, x: float, y: float) -> None:
    """A ring of road around a tank, and the roads that lead to it."""
    canvas.paint([rectangle(x, y, 31, 6.5), rectangle(x, y, 6.5, 31), ellipse(x, y, 12.5, 12.5, 40)], _ROAD)
    starts = np.array([(-15, 0), (13, 0), (0, -15), (0, 13)], float) + (x, y)
    along = np.array([(2, 0), (2, 0), (0, 2), (0, 2)])
    canvas.lines(np.stack([starts, starts + along], axis=1), 0.4, _LINE)
    _tanks(canvas, [(x, y)], "tank_in_roundabout")


def _tanks(canvas: Canvas, places: list[tuple[float, float]], category: str) -> None:
    rng = canvas.rng
    canvas.paint([ellipse(x, y, _TANK_PAD, _TANK_PAD, 40) for x, y in places], _PAD)
    for x, y in places:
        radius = _TANK_RADIUS * rng.uniform(0.8, 1.0)
        canvas.place(tank(rng, radius, canvas.shadow_per_metre()), x, y, 0.0, category)
    canvas.flush()
