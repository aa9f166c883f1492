"""Crossings: roads on bridges over rivers, motorways and railways, and roundabouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bridges import bridge, lane_lines, roundabout_island
from .canvas import Canvas
from .parts import Material, ellipse, rectangle
from .surroundings import building, tree
from .textures import ASPHALT, CONCRETE, GRASS, SOIL, WATER, Ground
from .vehicles import car, truck

GSD = (0.25, 1.50)  # metres a pixel

_LINE = Material((216, 216, 210), -15.0)


def draw(canvas: Canvas) -> None:
    """Draw roads along x that cross a river, a motorway or a railway along y."""
    rng, reach = canvas.rng, canvas.reach
    below = rng.choice(("river", "motorway", "railway", "nothing"), p=(0.5, 0.25, 0.1, 0.15))
    width = {"river": rng.uniform(0.15, 0.9) * reach, "motorway": rng.uniform(14, 34), "railway": 12.0, "nothing": 0.0}
    gap = float(width[below])
    middle = rng.uniform(-0.4, 0.4) * reach
    asphalt = ASPHALT[rng.integers(3)]
    layers: list[tuple[list[np.ndarray] | None, Ground]] = [(None, (GRASS + SOIL + CONCRETE[:1])[rng.integers(7)])]
    if below == "river":
        bank = _banks(rng, middle, gap + rng.uniform(4, 16), reach)
        layers += [([bank], SOIL[rng.integers(3)]), ([_banks(rng, middle, gap, reach)], WATER[rng.integers(4)])]
    elif gap:
        ground = SOIL[1] if below == "railway" else ASPHALT[rng.integers(3)]
        layers.append(([rectangle(middle, 0, gap, 2.4 * reach)], ground))
    canvas.lay(layers)
    if below == "motorway":
        canvas.paint([shape[:, ::-1] + (middle, 0) for shape in lane_lines(2.4 * reach, gap)], _LINE)
        _traffic(canvas, 2.2, gap, np.array([middle, 0.0]), np.pi / 2)
    elif below == "railway":
        rail = Material((150, 146, 142), 2.0)
        tracks = [middle + x for x in (-3.0, -1.5, 1.5, 3.0)]
        canvas.lines(np.array([[[x, -1.2 * reach], [x, 1.2 * reach]] for x in tracks]), 0.15, rail)
    canvas.flush()

    red, green, blue = ((low + high) // 2 for low, high in zip(asphalt.rgb_low, asphalt.rgb_high))
    surface = Material((red, green, blue), asphalt.radar)
    height = rng.uniform(3.0, 9.0) if gap else 0.0
    y = -reach + rng.uniform(0.0, 0.8) * reach
    roads: list[tuple[float, float]] = []
    while y < reach:
        across = rng.uniform(3.0, 4.5) if rng.random() < 0.2 and gap else rng.choice((8.0, 11.0, 15.0, 22.0))
        roads.append((y, float(across)))
        # Two carriageways have a bridge each.
        y += across + (rng.uniform(2, 8) if rng.random() < 0.25 else rng.uniform(25, max(40.0, 0.9 * reach)))
    lift = canvas.lean_per_metre() * height
    for y, across in roads:
        _road(canvas, y, across, (middle, gap), lift, surface)
    for y, across in roads:
        if gap:
            span = gap + rng.uniform(2, 14)
            canvas.place(bridge(rng, span, across, height, surface), middle, y, np.pi * rng.integers(2), "bridge")
    rings = _roundabouts(canvas, roads, (middle, gap), lift, surface)
    canvas.flush()
    busy = rng.uniform(0.2, 1.2)
    for y, across in roads:
        if across > 5:
            _traffic(canvas, busy, across, np.array([0.0, y]) + lift, 0.0, rings)
    canvas.flush()
    _land(canvas, roads, (middle, gap))


def _banks(rng: np.random.Generator, middle: float, width: float, reach: float) -> np.ndarray:
    """Outline of a river along y whose banks wander."""
    ys = np.linspace(-1.2 * reach, 1.2 * reach, 40)
    waves = [
        sum(rng.uniform(0, 0.05) * width * np.sin(ys / reach * k + rng.uniform(0, 6.3)) for k in (2, 5, 9))
        for _ in range(2)
    ]
    left = np.stack([middle - width / 2 + waves[0], ys], axis=1)
    right = np.stack([middle + width / 2 + waves[1], ys], axis=1)
    return np.concatenate([left, right[::-1]])


def _road(
    canvas: Canvas, y: float, width: float, gap: tuple[float, float], lift: np.ndarray, surface: Material
) -> None:
    """The two approaches of a bridge, as high as its deck; without a gap they meet."""
    reach, (middle, span) = canvas.reach, gap
    for side in (-1, 1):
        near, far = middle + side * span / 2, side * 1.3 * reach
        if side * (far - near) <= 0:
            continue
        at = np.array([(near + far) / 2, y]) + lift
        length = abs(far - near)
        canvas.paint([rectangle(at[0], at[1], length, width)], surface)
        if width > 5:
            canvas.paint([shape + at for shape in lane_lines(length, width)], _LINE)


def _traffic(
    canvas: Canvas,
    busy: float,
    width: float,
    origin: np.ndarray,
    heading: float,
    rings: Sequence[tuple[np.ndarray, float]] = (),
) -> None:
    """Vehicles on a road through `origin`; none on the rings (centre, radius)."""
    rng, reach = canvas.rng, canvas.reach
    lanes = max(2, round((width - 2) / 3.5))
    ahead = np.array([np.cos(heading), np.sin(heading)])
    aside = np.array([-ahead[1], ahead[0]])
    for lane in range(lanes):
        offset = ((lane + 0.5) / lanes - 0.5) * (width - 2)
        along = -reach
        while along < reach:
            along += 6 + rng.exponential(60 / busy)
            large = rng.random() < 0.25
            x, y = origin + along * ahead + (offset + rng.normal(0, 0.15)) * aside
            clear = all(np.hypot(*(centre - (x, y))) > radius + 6 for centre, radius in rings)
            if clear and canvas.in_view(x, y, 10):
                parts = truck(rng) if large else car(rng)
                canvas.place(parts, x, y, heading + (np.pi if offset > 0 else 0.0), "vehicle")
            along += 14 if large else 4


def _roundabouts(
    canvas: Canvas,
    roads: list[tuple[float, float]],
    gap: tuple[float, float],
    lift: np.ndarray,
    surface: Material,
) -> list[tuple[np.ndarray, float]]:
    """Roundabouts on some roads, clear of the bridges, with a road that meets them; their centres and radii."""
    rng, reach = canvas.rng, canvas.reach
    rings: list[tuple[np.ndarray, float]] = []
    for y, width in roads:
        if width < 7 or rng.random() < (0.35 if gap[1] else 0.1):
            continue
        radius = rng.uniform(0.03, 0.14) * reach + rng.uniform(2, 8)
        ring = rng.uniform(5, 10)
        side = rng.choice((-1, 1))
        x = gap[0] + side * (gap[1] / 2 + radius + ring + 14 + rng.uniform(0, 0.3) * reach)
        at = np.array([x, y]) + lift
        if any(np.hypot(*(at - other)) < radius + ring + room for other, room in rings):
            continue
        rings.append((at, radius + ring))
        arm = rng.choice((-1, 1)) * 1.2 * reach
        canvas.paint([rectangle(at[0], at[1] + arm / 2, rng.uniform(6, 10), abs(arm))], surface)
        canvas.paint([ellipse(at[0], at[1], radius + ring, radius + ring, 72)], surface.shaded(rng.uniform(0.95, 1.05)))
        canvas.place(roundabout_island(rng, radius), at[0], at[1], rng.uniform(0, 2 * np.pi), "roundabout")
        for turn in rng.uniform(0, 2 * np.pi, rng.integers(0, 4)):
            spot = at + (radius + ring / 2) * np.array([np.cos(turn), np.sin(turn)])
            canvas.place(car(rng), spot[0], spot[1], turn + np.pi / 2, "vehicle")
    return rings


def _land(canvas: Canvas, roads: list[tuple[float, float]], gap: tuple[float, float]) -> None:
    """Houses and trees off the roads and the gap."""
    rng, reach = canvas.rng, canvas.reach
    urban = rng.choice((0.0, 0.25, 0.7))
    for _ in range(int(rng.uniform(15, 60))):
        x, y = rng.uniform(-1, 1, 2) * reach
        house = rng.random() < urban
        size = rng.uniform(10, 30) if house else rng.uniform(1.5, 5)
        room = 0.7 * size if house else size
        if abs(x - gap[0]) < 0.62 * gap[1] + room + 4 or any(abs(y - at) < width / 2 + room + 9 for at, width in roads):
            continue
        if canvas.covered(x, y, room + 3) or not canvas.in_view(x, y, room):
            continue
        if house:
            canvas.place(building(rng, size, rng.uniform(8, 14)), x, y, rng.choice((0.0, np.pi / 2)))
        else:
            canvas.place(tree(rng, size), x, y, 0.0)
    canvas.flush()
