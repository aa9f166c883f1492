"""Car parks: dense rows of vehicles between markings, trees, shelters and buildings."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .parts import Material, rectangle
from .surroundings import building, lamp, shelter, tree
from .textures import ASPHALT, GRASS, SOIL
from .vehicles import car, container, truck

GSD = (0.12, 0.80)  # metres a pixel

_PAINT = Material((214, 214, 208), -15.0)
_STALL_DEPTH = 5.0


def draw(canvas: Canvas) -> None:
    """Draw a car park."""
    rng, reach = canvas.rng, canvas.reach
    stall = rng.uniform(2.35, 2.75)
    aisle = rng.uniform(5.8, 7.2)
    lot = (rng.uniform(0.55, 1.05) * reach, rng.uniform(0.5, 0.95) * reach)  # half sizes
    grass = (GRASS + SOIL)[rng.integers(6)]
    asphalt = ASPHALT[rng.integers(3)]
    road = reach * rng.uniform(0.75, 1.0)
    canvas.lay([
        (None, grass),
        ([rectangle(0, road, 2.4 * reach, 8.0)], ASPHALT[rng.integers(3)]),
        ([rectangle(0, 0, 2 * lot[0], 2 * lot[1])], asphalt),
    ])  # fmt: skip
    canvas.stain(_patches(rng, lot), Material((40, 40, 42), -21.0), rng.uniform(0.1, 0.35), 0.4)
    dashes = np.arange(-1.2 * reach, 1.2 * reach, 6.0)
    canvas.lines(np.stack([np.stack([dashes, 0 * dashes + road], 1), np.stack([dashes + 3, 0 * dashes + road], 1)], 1),
                 0.15, _PAINT)  # fmt: skip

    # How full the lot is varies over it: people park near the entrance.
    fullness = rng.uniform(0.25, 0.95)
    entrance = rng.uniform(-1, 1, 2) * lot
    pitch = 2 * _STALL_DEPTH + aisle
    first = -lot[1] + rng.uniform(0.5, 4.0)
    if rng.random() < 0.5:
        _lorry_bay(canvas, -lot[1] + 9.0, lot[0])
        first += 24
    trees: list[tuple[float, float, float]] = []
    for row_y in np.arange(first, lot[1] - 2 * _STALL_DEPTH, pitch):
        _double_row(canvas, row_y, lot[0], stall, fullness, entrance, trees)
        for _ in range(rng.poisson(lot[0] / 45)):  # on their way along the aisle
            lane = row_y + 2 * _STALL_DEPTH + aisle * rng.choice((0.28, 0.72))
            parts = truck(rng) if rng.random() < 0.12 else car(rng)
            canvas.place(parts, rng.uniform(-lot[0], lot[0]), lane, rng.choice((0.0, np.pi)), "vehicle")
    for _ in range(rng.poisson(reach / 12)):
        parts = truck(rng) if rng.random() < 0.25 else car(rng)
        side = rng.choice((-2.0, 2.0))
        canvas.place(parts, rng.uniform(-1, 1) * reach, road + side, 0.0 if side > 0 else np.pi, "vehicle")
    canvas.flush()
    _edges(canvas, lot, trees, road)


def _double_row(
    canvas: Canvas,
    y: float,
    half_length: float,
    stall: float,
    fullness: float,
    entrance: np.ndarray,
    trees: list[tuple[float, float, float]],
) -> None:
    """Two rows of stalls back to back, the upper edge of the upper one at y."""
    rng = canvas.rng
    xs = np.arange(-half_length + 1.0, half_length - stall, stall)
    border = np.append(xs, xs[-1] + stall) if len(xs) else xs
    markings = [np.stack([np.stack([border, 0 * border + y], 1), np.stack([border, 0 * border + y + 10], 1)], 1)]
    if len(border):
        markings.append(np.array([[[border[0], y + 5], [border[-1], y + 5]]]))
    canvas.lines(np.concatenate(markings), 0.12, _PAINT.shaded(rng.uniform(0.75, 1.0)))
    island = rng.integers(9, 18)
    special = rng.random()
    for row in (0, 1):
        for i, x in enumerate(xs + stall / 2):
            centre = y + (row + 0.5) * _STALL_DEPTH
            if not canvas.in_view(x, centre, 8):
                continue
            if i % island == island // 2:  # planted island across both rows
                if row == 0:
                    ground = Material(GRASS[0].rgb_low, -12.0)
                    canvas.paint([rectangle(x, y + _STALL_DEPTH, 0.9 * stall, 1.9 * _STALL_DEPTH)], ground)
                    trees += [(x, y + 2.5, rng.uniform(1.2, 2.6)), (x, y + 7.5, rng.uniform(1.2, 2.6))]
                continue
            distance = np.hypot(x - entrance[0], centre - entrance[1]) / np.hypot(half_length, half_length)
            draw = rng.random()
            if draw < fullness * (1.15 - 0.5 * distance):
                turn = np.pi / 2 + rng.normal(0, 0.035) + np.pi * rng.integers(2)
                canvas.place(car(rng), x + rng.normal(0, 0.1), centre + rng.normal(0, 0.22), turn, "vehicle")
            elif draw > 0.992 and special < 0.5:
                canvas.place(shelter(rng), x, centre, np.pi / 2)


def _lorry_bay(canvas: Canvas, y: float, half_length: float) -> None:
    """Lorries, buses and trailers left behind, side by side."""
    rng = canvas.rng
    xs = np.arange(-half_length + 2.5, half_length - 2.5, rng.uniform(3.5, 4.4))
    pitch = 4.0 if len(xs) < 2 else xs[1] - xs[0]
    edges = np.stack([np.stack([xs - pitch / 2, 0 * xs + y - 8], 1), np.stack([xs - pitch / 2, 0 * xs + y + 8], 1)], 1)
    canvas.lines(edges, 0.15, _PAINT)
    fullness = rng.uniform(0.3, 0.9)
    for x in xs:
        heading = rng.choice((-1, 1)) * np.pi / 2 + rng.normal(0, 0.02)
        draw = rng.random()
        if draw < fullness:
            canvas.place(truck(rng), x, y + rng.normal(0, 0.5), heading, "vehicle")
        elif draw > 0.9:
            canvas.place(container(rng), x, y + rng.normal(0, 0.5), heading)


def _edges(canvas: Canvas, lot: tuple[float, float], trees: list[tuple[float, float, float]], road: float) -> None:
    """What surrounds the lot, and the trees on it."""
    rng, reach = canvas.rng, canvas.reach
    for side in (-1, 1):
        depth = reach - lot[0]
        if depth > 8 and rng.random() < 0.7:
            width = rng.uniform(6, max(7.0, depth))
            canvas.place(building(rng, width, rng.uniform(12, 40)), side * (lot[0] + 2 + width / 2),
                         rng.uniform(-0.6, 0.6) * reach, 0.0)  # fmt: skip
    if rng.random() < 0.4:
        x, y = rng.uniform(-0.8, 0.8) * lot[0], -lot[1] - 3.0
        for step in range(rng.integers(1, 5)):
            canvas.place(container(rng), x + 6.6 * step, y, rng.normal(0, 0.02))
    for _ in range(rng.integers(2, 7)):
        canvas.place(lamp(rng), *(rng.uniform(-1, 1, 2) * lot), rng.choice((0.0, np.pi / 2)))
    canvas.flush()
    for x, y, radius in trees:
        canvas.place(tree(rng, radius), x, y, 0.0)
    for _ in range(int(rng.uniform(0.2, 1.0) * reach)):
        x, y = rng.uniform(-1.1, 1.1, 2) * reach
        outside = abs(x) > lot[0] + 1 or abs(y) > lot[1] + 1
        if outside and abs(y - road) > 7 and canvas.in_view(x, y, 12):
            canvas.place(tree(rng, rng.uniform(0.8, 3.4)), x, y, 0.0)
    canvas.flush()


def _patches(rng: np.random.Generator, lot: tuple[float, float]) -> list[np.ndarray]:
    """Repaired asphalt and oil."""
    return [
        rectangle(*(rng.uniform(-1, 1, 2) * lot), rng.uniform(1, 9), rng.uniform(0.6, 3))
        for _ in range(rng.integers(4, 16))
    ]
