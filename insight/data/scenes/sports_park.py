"""Sports parks: running tracks, pitches, diamonds and courts in rows, with stands, trees and parked cars."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .fields import baseball_diamond, football_pitch, running_track
from .parts import Material, rectangle
from .sports import court, swimming_pool
from .surroundings import building, tree
from .textures import ASPHALT, GRASS, SOIL
from .vehicles import car, truck

GSD = (0.22, 1.50)  # metres a pixel

_WEAR = Material((150, 134, 104), -13.0)


def draw(canvas: Canvas) -> None:
    """Draw rows of grounds along x."""
    rng, reach = canvas.rng, canvas.reach
    ground = (GRASS + SOIL[:2] + ASPHALT[2:])[rng.integers(6)]
    rows: list[tuple[float, float]] = []  # upper edge, height
    y = -reach - rng.uniform(0, 40)
    while y < reach:
        rows.append((y, rng.choice((24.0, 46.0, 72.0, 100.0)) * rng.uniform(0.85, 1.15)))
        y += rows[-1][1] + rng.uniform(4, 14)
    paths = [rectangle(0, y - rng.uniform(1, 3), 2.4 * reach, rng.uniform(1.5, 7)) for y, _ in rows]
    canvas.lay([(None, ground), (paths, ASPHALT[rng.integers(3)])])
    for y, height in rows:
        x = -reach - rng.uniform(0, 0.6 * height)
        while x < reach:
            x += _ground(canvas, x, y, height) + rng.uniform(2, 16)
    canvas.flush()
    for _ in range(rng.integers(3, 9)):
        place = ground_patch(rng, reach)
        canvas.stain([place], _WEAR, rng.uniform(0.08, 0.3), rng.uniform(1, 4))
    for y, height in rows:
        for x in rng.uniform(-1, 1, rng.integers(0, 3)) * reach:
            length = rng.uniform(8, 40)
            if not canvas.covered(x, y + height + 2, 2):
                canvas.place(building(rng, length, rng.uniform(4, 9), low=True), x, y + height + 2, 0.0)
        crowns = rng.uniform(1.5, 5.0)
        for x in np.arange(-reach, reach, rng.uniform(6, 40)):
            if rng.random() < 0.5 and canvas.in_view(x, y, 8):
                canvas.place(tree(rng, crowns * rng.uniform(0.6, 1.0)), x, y - rng.uniform(0.5, 3), 0.0)
    canvas.flush()


def ground_patch(rng: np.random.Generator, reach: float) -> np.ndarray:
    """Bare or trodden earth."""
    return rectangle(*(rng.uniform(-1, 1, 2) * reach), *rng.uniform(3, 18, 2))


def _ground(canvas: Canvas, x: float, y: float, height: float) -> float:
    """Draw one ground in a row, from x and y on; returns its width, metres."""
    rng = canvas.rng
    flip = np.pi * rng.integers(2)
    if height < 30:
        return _small(canvas, x, y, height)
    kind = rng.random()
    middle = y + height / 2
    if kind < 0.3 and height > 38:
        width = height * rng.uniform(1.6, 2.1)
        canvas.place(running_track(rng, width, height), x + width / 2, middle, flip, "sports_field")
        if rng.random() < 0.3:  # the field inside is an instance of its own
            canvas.place(football_pitch(rng, 0.56 * width, 0.66 * height), x + width / 2, middle, flip, "sports_field")
        return width
    if kind < 0.62:
        length, across = height * rng.uniform(1.35, 1.65), 0.96 * height
        canvas.place(football_pitch(rng, length, across), x + length / 2, middle, flip, "sports_field")
        return length
    if kind < 0.86:
        radius = min(height * rng.uniform(0.6, 0.85), rng.uniform(24, 44))
        corner = rng.integers(4)
        heading = corner * np.pi / 2 + (np.pi / 4 if rng.random() < 0.5 else rng.uniform(-0.3, 0.3))
        fan = 0.6 * radius * np.array([np.cos(heading), np.sin(heading)])
        width = 1.5 * radius
        if rng.random() < 0.6:  # the outfield's lawn
            outfield = Material(GRASS[rng.integers(3)].rgb_high, -12.0).shaded(rng.uniform(0.7, 1.0))
            canvas.paint([_sector(rng.uniform(1.4, 2.2) * radius, heading) + (x + width / 2, middle) - fan], outfield)
        where = np.array([x + width / 2, middle]) - fan
        canvas.place(baseball_diamond(rng, radius), where[0], where[1], heading, "sports_field")
        return width
    return _small(canvas, x, y, height)


def _sector(radius: float, heading: float) -> np.ndarray:
    t = heading + np.linspace(-np.pi / 4, np.pi / 4, 20)
    return np.concatenate([[(0.0, 0.0)], np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)])


def _small(canvas: Canvas, x: float, y: float, height: float) -> float:
    """A block of courts, a pool or a car park."""
    rng = canvas.rng
    kind = rng.random()
    if kind < 0.6:
        count, gap = int(rng.integers(1, 6)), rng.uniform(0.5, 5.0)
        upright = rng.random() < 0.7
        across = 19.0 + gap if upright else 34.0 + gap
        along = 34.0 if upright else 19.0
        pave = Material((128, 126, 120), -17.0).shaded(rng.uniform(0.6, 1.3))
        if rng.random() < 0.6:
            canvas.paint([rectangle(x + count * across / 2, y + height / 2, count * across, along + 4)], pave)
        alike = rng.integers(2**32)
        for i in range(count):
            own = np.random.default_rng(alike) if rng.random() < 0.85 else rng
            canvas.place(court(own), x + (i + 0.5) * across, y + height / 2, np.pi / 2 if upright else 0.0, "court")
        return count * across
    if kind < 0.7:
        canvas.paint([rectangle(x + 20, y + 13, 38, 26)], Material((196, 190, 178), -14.0))
        canvas.place(swimming_pool(rng, rng.uniform(14, 30)), x + 20, y + 13, 0.0, "swimming_pool")
        return 40.0
    width = rng.uniform(20, 70)
    canvas.paint([rectangle(x + width / 2, y + 8, width, 16)], Material((104, 104, 106), -19.0))
    for stall in np.arange(x + 2, x + width - 2, 2.6):
        for row in (2.7, 13.0):
            if rng.random() < 0.6 and canvas.in_view(stall, y + row, 6):
                canvas.place(car(rng), stall, y + row, np.pi / 2 + rng.normal(0, 0.04), "vehicle")
    if rng.random() < 0.3:
        canvas.place(truck(rng), x + width / 2, y + 8, 0.0, "vehicle")
    return width
