"""Storage tanks, and round things that are none."""

from __future__ import annotations

import numpy as np

from .parts import Material, Part, ellipse, rectangle

_ROOFS = ((236, 236, 232), (214, 214, 208), (196, 190, 176), (158, 162, 164), (142, 112, 92), (110, 130, 118))


def tank(rng: np.random.Generator, radius: float, sun: np.ndarray) -> list[Part]:
    """An upright tank with a fixed or a floating roof.

    Args:
        rng: source of randomness.
        radius: metres.
        sun: (2,) where shadows fall, in the frame of the tank, metres a metre of height.
    """
    paint = Material(_ROOFS[rng.choice(6, p=[0.38, 0.2, 0.14, 0.12, 0.08, 0.08])], rng.uniform(-4, 1))
    height = float(np.clip(rng.uniform(0.5, 1.1) * radius, 5, 22))
    points = int(np.clip(radius * 4, 24, 56))
    parts = [Part(ellipse(0, 0, radius, radius, points), paint.shaded(0.82), height)]
    inner = 0.95 * radius
    roof_kind = rng.random()
    if roof_kind < 0.38:  # floating roof: the rim shades a crescent of it
        depth = rng.uniform(0.15, 0.7) * height
        roof = paint.shaded(rng.uniform(0.75, 1.0))
        parts.append(Part(ellipse(0, 0, inner, inner, points), roof.shaded(0.5), solid=False))
        parts.append(Part(_lens(inner, sun * depth), roof, solid=False))
        parts.append(Part(ellipse(0, 0, 0.12 * radius, 0.12 * radius, 12), roof.shaded(0.85), solid=False))
    elif roof_kind < 0.6:  # dome: dark on the side away from the sun, a highlight on the other
        direction = -sun / max(float(np.linalg.norm(sun)), 1e-6)
        dark = rng.uniform(0.4, 0.75)
        parts.append(Part(ellipse(0, 0, radius, radius, points), paint.shaded(dark), solid=False))
        for step in np.linspace(0.08, 0.9, 7):
            size = radius * (1 - step)
            centre = direction * 0.8 * (radius - size)
            shade = paint.shaded(dark + (1.25 - dark) * step**0.7)
            parts.append(Part(ellipse(*centre, size, size, points), shade, solid=False))
    else:  # cone: lighter towards the sun
        direction = -sun / max(float(np.linalg.norm(sun)), 1e-6)
        for step in np.linspace(0.0, 0.75, 4):
            centre = direction * step * 0.35 * radius
            size = inner * (1 - step)
            parts.append(Part(ellipse(*centre, size, size, points), paint.shaded(0.93 + 0.13 * step), solid=False))
        parts.append(Part(ellipse(0, 0, 0.05 * radius, 0.05 * radius, 8), paint.shaded(0.6), solid=False))
    turn = rng.uniform(0, 2 * np.pi)
    stair = rectangle(0.93 * radius, 0, 0.1 * radius, max(0.9, 0.12 * radius))
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    parts.append(Part(stair @ rotation, paint.shaded(0.6), solid=False))
    return parts


def _lens(radius: float, shift: np.ndarray) -> np.ndarray:
    """Outline of the part of a disc that its own shifted copy covers: what the rim leaves in the sun."""
    distance = min(float(np.linalg.norm(shift)), 1.6 * radius)
    if distance < 1e-6:
        return ellipse(0, 0, radius, radius)
    along = np.arctan2(shift[1], shift[0])
    half = np.arccos(distance / (2 * radius))
    t = np.linspace(-half, half, 20)
    arc = np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)
    outline = np.concatenate([arc, (distance, 0) + arc * (-1, -1)])
    c, s = np.cos(along), np.sin(along)
    return outline @ np.array([[c, s], [-s, c]])


def empty_pad(rng: np.random.Generator, radius: float) -> list[np.ndarray]:
    """Rings of the bare foundation of a tank that was removed, from the outermost inwards."""
    return [ellipse(0, 0, r, r, 40) for r in (radius, radius * rng.uniform(0.85, 0.93))]


def pool(rng: np.random.Generator, radius: float) -> list[Part]:
    """A round basin: water in a concrete rim, no height."""
    water = Material(((60, 110, 128), (74, 96, 84), (44, 70, 84))[rng.integers(3)], -26.0)
    return [
        Part(ellipse(0, 0, radius, radius, 40), Material((170, 168, 160), -14.0)),
        Part(ellipse(0, 0, 0.9 * radius, 0.9 * radius, 40), water, solid=False),
        Part(rectangle(0, 0, 1.9 * radius, 0.06 * radius), Material((120, 118, 112), -8.0), solid=False),
    ]
