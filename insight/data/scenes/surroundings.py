"""Trees, buildings and other things that stand about and are no instance."""

from __future__ import annotations

import cv2
import numpy as np

from .parts import Material, Part, chamfered, ellipse, rectangle

_CROWNS = ((52, 74, 40), (66, 88, 46), (44, 64, 42), (84, 96, 54), (96, 84, 50))
_ROOFS = ((168, 164, 158), (128, 130, 132), (196, 192, 184), (138, 82, 66), (104, 110, 116), (214, 214, 210))


def tree(rng: np.random.Generator, radius: float) -> list[Part]:
    """A broad-leaved tree or bush: overlapping clumps of leaves, light ones towards the top."""
    crown = Material(_CROWNS[rng.integers(len(_CROWNS))], -9.0)
    height = radius * rng.uniform(1.6, 2.6)
    parts = []
    for share, shade in ((0.72, 0.62), (0.5, 0.85), (0.34, 1.12)):
        for _ in range(4):
            angle, away = rng.uniform(0, 2 * np.pi), radius * (1 - share) * rng.uniform(0.5, 1.0)
            rx, ry = radius * share * rng.uniform(0.8, 1.1, 2)
            clump = ellipse(away * np.cos(angle), away * np.sin(angle), rx, ry, 9)
            clump = clump * rng.uniform(0.88, 1.1, (9, 1))
            parts.append(Part(_hull(clump), crown.shaded(shade * rng.uniform(0.88, 1.12)), height, share > 0.7))
    return parts


def building(rng: np.random.Generator, length: float, width: float, low: bool = False) -> list[Part]:
    """A flat or gabled roof with plant and skylights, which from above resemble vehicles; low ones are houses."""
    roof = Material(_ROOFS[rng.integers(len(_ROOFS))], -8.0)
    height = rng.uniform(3, 7) if low else rng.uniform(5, 14)
    parts = [Part(rectangle(0, 0, length, width), roof, height)]
    if rng.random() < (0.75 if low else 0.35):  # gable: one side in the light
        parts.append(Part(rectangle(0, width / 4, length, width / 2), roof.shaded(0.78), solid=False))
        return parts
    parts.append(Part(rectangle(0, 0, length - 1.2, width - 1.2), roof.shaded(0.93), solid=False))
    for _ in range(int(min(14, length * width / 90))):
        x, y = rng.uniform(-0.42, 0.42) * length, rng.uniform(-0.4, 0.4) * width
        plant = Material(((222, 222, 220), (150, 152, 154), (70, 76, 84))[rng.integers(3)], 2.0)
        long, wide = rng.uniform(1.2, 4.6), rng.uniform(1.0, 2.2)
        parts.append(Part(rectangle(x + 0.5, y + 0.5, long, wide), roof.shaded(0.5), solid=False))
        parts.append(Part(rectangle(x, y, long, wide), plant, solid=False))
    return parts


def shelter(rng: np.random.Generator) -> list[Part]:
    """A shelter for shopping trolleys or bicycles: the size of a car, flat and pale."""
    paint = Material((204, 208, 208), -2.0).shaded(rng.uniform(0.8, 1.1))
    return [
        Part(rectangle(0, 0, 4.8, 2.0), paint, 2.3),
        Part(rectangle(0, 0, 4.8, 0.12), paint.shaded(0.7), solid=False),
    ]


def lamp(rng: np.random.Generator) -> list[Part]:
    """A lamp post: hardly more than its shadow."""
    return [Part(chamfered(0, 0, 0.5, 0.3, 0.05), Material((186, 186, 184), 4.0), rng.uniform(7, 11))]


def rock(rng: np.random.Generator, radius: float) -> list[Part]:
    """A rock or a small island."""
    stone = Material((112, 104, 92), -7.0).shaded(rng.uniform(0.7, 1.15))
    outline = _hull(ellipse(0, 0, radius, radius * rng.uniform(0.4, 0.9), 10) * rng.uniform(0.7, 1.15, (10, 1)))
    return [
        Part(outline, stone, 0.4 * radius),
        Part(outline * 0.6, stone.shaded(1.2), solid=False),
    ]


def _hull(points: np.ndarray) -> np.ndarray:
    """The convex hull of a star-shaped ring: parts have to be convex."""
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(float)
