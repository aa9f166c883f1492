"""Tank farms: tanks of varied size behind berms, joined by pipes."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .parts import Material, Part, rectangle
from .surroundings import building, tree
from .tanks import empty_pad, pool, tank
from .textures import ASPHALT, CONCRETE, GRASS, SOIL
from .vehicles import car, container, truck

GSD = (0.25, 1.10)  # metres a pixel


def draw(canvas: Canvas) -> None:
    """Draw a tank farm: a grid of bermed cells, with roads between."""
    rng, reach = canvas.rng, canvas.reach
    soil = (SOIL + GRASS[:1] + CONCRETE[:2])[rng.integers(6)]
    cell = float(np.clip(rng.uniform(0.45, 0.95) * reach, 24, 70))
    road = rng.uniform(6, 9)
    asphalt = ASPHALT[rng.integers(3)]
    starts = np.arange(-reach - rng.uniform(0, cell), reach, cell + road)
    yards = [(x, y) for x in starts for y in starts if canvas.in_view(x + cell / 2, y + cell / 2, cell)]
    canvas.lay([(None, asphalt), ([_square(x, y, cell) for x, y in yards], soil)])
    for x, y in yards:
        _berm(canvas, x, y, cell)
    canvas.flush()
    for x, y in yards:
        _yard(canvas, x, y, cell)
    for start in starts:
        _road(canvas, start - road / 2, road)
    canvas.flush()
    for x, y in yards:
        if rng.random() < 0.25:
            canvas.place(tree(rng, rng.uniform(1.5, 4.0)), x - 1.5, y - 1.5, 0.0)
    canvas.flush()


def _yard(canvas: Canvas, x: float, y: float, cell: float) -> None:
    """One bermed cell: one big tank, or a block of equal smaller ones, or something else that is round."""
    rng = canvas.rng
    draw = rng.random()
    if draw < 0.10:
        canvas.place(building(rng, 0.6 * cell, 0.35 * cell), x + cell / 2, y + 0.4 * cell, 0.0)
        for step in range(rng.integers(0, 5)):
            canvas.place(container(rng), x + 0.25 * cell, y + 0.68 * cell + 3.0 * step, 0.0)
        return
    count = int(rng.choice((1, 2, 3, 4), p=(0.22, 0.38, 0.25, 0.15)))
    pitch = (cell - 5) / count
    radius = pitch * rng.uniform(0.3, 0.44)
    pipe = Material((150, 150, 148), 0.0).shaded(rng.uniform(0.7, 1.3))
    for row in range(count):
        for column in range(count):
            cx = x + 2.5 + (column + 0.5) * pitch
            cy = y + 2.5 + (row + 0.5) * pitch
            draw = rng.random()
            if draw < 0.78:
                own = radius * (1.0 if rng.random() < 0.7 else rng.uniform(0.6, 1.0))
                canvas.place(tank(rng, own, canvas.shadow_per_metre()), cx, cy, 0.0, "storage_tank")
                reach = cy + own, y + cell - 1
                if rng.random() < 0.7:
                    shape = rectangle(cx, sum(reach) / 2, 0.45, reach[1] - reach[0])
                    canvas.paint([shape + (0.5, 0)], pipe.shaded(0.4))
                    canvas.paint([shape], pipe)
            elif draw < 0.84:
                canvas.place(pool(rng, radius), cx, cy, rng.uniform(0, np.pi))
            elif draw < 0.90:
                outer, inner = empty_pad(rng, radius)
                canvas.paint([outer + (cx, cy)], Material((176, 172, 162), -15.0))
                canvas.paint([inner + (cx, cy)], Material((150, 142, 128), -14.0))
            elif draw < 0.95:
                canvas.place(tree(rng, min(radius, rng.uniform(2.5, 5.0))), cx, cy, 0.0)
    header = rectangle(x + cell / 2, y + cell - 1.0, cell - 2, 0.9)
    canvas.paint([header], pipe)


def _berm(canvas: Canvas, x: float, y: float, cell: float) -> None:
    """A low earth wall around a cell: a light and a dark flank."""
    wall = Material((138, 128, 106), -10.0).shaded(canvas.rng.uniform(0.8, 1.15))
    middle = cell / 2
    sides = (
        (middle, 0.6, cell, 1.8), (middle, cell - 0.6, cell, 1.8),
        (0.6, middle, 1.8, cell), (cell - 0.6, middle, 1.8, cell),
    )  # fmt: skip
    parts = [Part(rectangle(x + cx, y + cy, length, width), wall, 1.3) for cx, cy, length, width in sides]
    canvas.place(parts, 0, 0, 0.0)


def _square(x: float, y: float, side: float) -> np.ndarray:
    return rectangle(x + side / 2, y + side / 2, side, side)


def _road(canvas: Canvas, middle: float, width: float) -> None:
    """Cars and lorries on the roads on both sides of a line of cells."""
    rng, reach = canvas.rng, canvas.reach
    for along_x in (True, False):
        for _ in range(rng.poisson(reach / 18)):
            position, lane = rng.uniform(-reach, reach), middle + rng.choice((-0.22, 0.22)) * width
            parts = car(rng) if rng.random() < 0.55 else truck(rng)
            x, y = (position, lane) if along_x else (lane, position)
            if not canvas.covered(x, y, 12):
                canvas.place(parts, x, y, (0.0 if along_x else np.pi / 2) + np.pi * rng.integers(2), "vehicle")
