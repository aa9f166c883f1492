"""Residential quarters: streets of houses with gardens, swimming pools, courts and parked cars."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .parts import Material, rectangle
from .sports import court, swimming_pool
from .surroundings import building, tree
from .textures import ASPHALT, GRASS, SOIL
from .vehicles import car, truck

GSD = (0.15, 0.50)  # metres a pixel

_DECKS = (Material((206, 198, 184), -14.0), Material((178, 158, 132), -13.0), Material((150, 148, 144), -15.0))


def draw(canvas: Canvas) -> None:
    """Draw parallel streets along x with plots on both sides."""
    rng, reach = canvas.rng, canvas.reach
    plot = (rng.uniform(16, 26), rng.uniform(26, 42))  # width, depth
    road = rng.uniform(6, 9)
    pitch = 2 * plot[1] + road
    streets = np.arange(-reach - rng.uniform(0, pitch), reach + pitch, pitch)
    asphalt = ASPHALT[rng.integers(3)]
    strips = [rectangle(0, y, 2.4 * reach, road) for y in streets]
    canvas.lay([(None, (GRASS + SOIL[:1])[rng.integers(4)]), (strips, asphalt)])
    wealth = rng.uniform(0.15, 0.8)  # share of the plots with a pool
    trees: list[tuple[float, float, float]] = []
    houses: list[tuple[float, float, float, float]] = []
    for street in streets:
        for side in (-1, 1):
            x = -reach * 1.1 - rng.uniform(0, plot[0])
            while x < reach * 1.1:
                if rng.random() < 0.05:
                    x += _sports_ground(canvas, x, street + side * (road + plot[1]) / 2)
                    continue
                if canvas.in_view(x + plot[0] / 2, street + side * plot[1] / 2, plot[1]):
                    _plot(canvas, x, street + side * road / 2, side, plot, wealth, houses, trees)
                x += plot[0]
        _traffic(canvas, street, road)
    canvas.flush()
    for x, y, length, width in houses:
        canvas.place(building(rng, length, width, low=True), x, y, rng.choice((0.0, np.pi)))
    canvas.flush()
    for x, y, radius in trees:
        canvas.place(tree(rng, radius), x, y, 0.0)
    canvas.flush()


def _plot(
    canvas: Canvas,
    left: float,
    front: float,
    side: int,
    plot: tuple[float, float],
    wealth: float,
    houses: list[tuple[float, float, float, float]],
    trees: list[tuple[float, float, float]],
) -> None:
    """One plot: a drive with cars, the house, and behind it a garden, perhaps with a pool."""
    rng = canvas.rng
    width, depth = plot
    house = (rng.uniform(0.5, 0.72) * width, rng.uniform(0.25, 0.36) * depth)
    setback = rng.uniform(5, 8)
    x, y = left + width * rng.uniform(0.45, 0.55), front + side * (setback + house[1] / 2)
    houses.append((x, y, *house))
    drive = left + rng.uniform(0.08, 0.14) * width
    paving = Material((158, 156, 150), -16.0).shaded(rng.uniform(0.8, 1.15))
    canvas.paint([rectangle(drive, front + side * setback / 2, 3.0, setback)], paving)
    if rng.random() < 0.6:
        canvas.place(
            car(rng), drive, front + side * 2.9, rng.choice((-1, 1)) * np.pi / 2 + rng.normal(0, 0.05), "vehicle"
        )
    yard = depth - setback - house[1]
    middle = front + side * (setback + house[1] + yard / 2)
    if rng.random() < wealth and yard > 8:
        length = min(rng.uniform(6, 12), 0.6 * width, 1.1 * yard)
        heading = rng.choice((0.0, np.pi / 2)) + rng.normal(0, 0.12)
        extent = length * 1.35, length * 1.0
        if abs(np.sin(heading)) > 0.5:
            extent = extent[::-1]
        px, py = left + width * rng.uniform(0.4, 0.6), middle
        canvas.paint([rectangle(px, py, *extent)], _DECKS[rng.integers(3)].shaded(rng.uniform(0.85, 1.1)))
        canvas.place(swimming_pool(rng, length), px, py, heading, "swimming_pool")
    for _ in range(rng.poisson(1.6)):
        trees.append(
            (left + rng.uniform(0.02, 0.98) * width, middle + rng.uniform(-0.5, 0.5) * yard, rng.uniform(1, 3.5))
        )


def _sports_ground(canvas: Canvas, left: float, y: float) -> float:
    """A row of courts, or a public pool; returns its width, metres."""
    rng = canvas.rng
    if rng.random() < 0.75:
        count = int(rng.integers(1, 4))
        for i in range(count):
            canvas.place(court(rng), left + 11 + 21 * i, y, np.pi / 2, "court")
        return 22.0 + 21 * (count - 1)
    canvas.paint([rectangle(left + 20, y, 38, 26)], Material((196, 190, 178), -14.0))
    canvas.place(swimming_pool(rng, rng.uniform(18, 30)), left + 20, y, rng.choice((0.0, np.pi / 2)), "swimming_pool")
    return 40.0


def _traffic(canvas: Canvas, street: float, road: float) -> None:
    """Cars parked at the kerb and on their way, a lorry now and then."""
    rng, reach = canvas.rng, canvas.reach
    fullness = rng.uniform(0.05, 0.6)
    for x in np.arange(-reach, reach, 6.0):
        for side in (-1, 1):
            if rng.random() < fullness * 0.7:
                heading = rng.choice((0.0, np.pi)) + rng.normal(0, 0.03)
                canvas.place(car(rng), x, street + side * (road / 2 - 1.1), heading, "vehicle")
    for _ in range(rng.poisson(reach / 40)):
        side = rng.choice((-1, 1))
        parts = truck(rng) if rng.random() < 0.25 else car(rng)
        x = rng.uniform(-1, 1) * reach
        if not canvas.covered(x, street + side * 0.8, 5):
            canvas.place(parts, x, street + side * 0.8, 0.0 if side > 0 else np.pi, "vehicle")
