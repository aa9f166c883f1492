"""Swimming pools and courts."""

from __future__ import annotations

import numpy as np

from .parts import Material, Part, chamfered, ellipse, rectangle

_WATERS = ((86, 178, 196), (58, 148, 182), (112, 196, 204), (52, 118, 140), (64, 104, 92))
_COURTS = ((58, 104, 76), (52, 84, 128), (164, 92, 62), (110, 64, 58), (120, 124, 124), (88, 120, 150))
_LINE = Material((226, 226, 222), -15.0)


def swimming_pool(rng: np.random.Generator, length: float) -> list[Part]:
    """The water of a pool of the given length: a rectangle, an oval or a kidney."""
    water = Material(_WATERS[rng.choice(len(_WATERS), p=[0.3, 0.3, 0.2, 0.12, 0.08])], -26.0)
    width = length * rng.uniform(0.4, 0.62)
    kind = rng.random()
    if kind < 0.55:
        shapes = [chamfered(0, 0, length, width, rng.uniform(0.0, 0.25) * width)]
    elif kind < 0.8:
        shapes = [ellipse(0, 0, length / 2, width / 2)]
    else:
        offset = 0.16 * width * rng.choice((-1, 1))
        shapes = [
            ellipse(-0.2 * length, 0, 0.3 * length, 0.5 * width),
            ellipse(0.22 * length, offset, 0.28 * length, 0.4 * width),
        ]
    parts = [Part(shape, water) for shape in shapes]
    if rng.random() < 0.5:  # steps, or the shallow end
        inner = rectangle(rng.choice((-1, 1)) * 0.38 * length, 0, 0.1 * length, 0.5 * width)
        parts.append(Part(inner, water.shaded(rng.uniform(1.1, 1.3)), solid=False))
    return parts


def court(rng: np.random.Generator) -> list[Part]:
    """A tennis or basketball court with its run-off."""
    tennis = rng.random() < 0.6
    length, width = (36.6, 18.3) if tennis else (rng.uniform(22, 32), rng.uniform(13, 19))
    surface, inner = (Material(_COURTS[i], -17.0) for i in rng.choice(len(_COURTS), 2, replace=False))
    parts = [Part(rectangle(0, 0, length, width), surface)]
    long, wide = (23.8, 11.0) if tennis else (0.9 * length, 0.86 * width)
    if rng.random() < 0.6:
        parts.append(Part(rectangle(0, 0, long, wide), inner, solid=False))
    lines = [(0, side * wide / 2, long, 0.1) for side in (-1, 1)] + [(end * long / 2, 0, 0.1, wide) for end in (-1, 1)]
    if tennis:
        lines += [(0, side * 4.1, long, 0.1) for side in (-1, 1)] + [(x, 0, 0.1, 8.2) for x in (-6.4, 6.4)]
        lines += [(0, 0, 12.8, 0.1)]
    lines += [(0, 0, 0.15, wide + 0.6)]  # the net, or the halfway line
    parts += [Part(rectangle(*line), _LINE, solid=False) for line in lines]
    return parts if tennis else parts + _basketball(rng, long, wide, surface)


def _basketball(rng: np.random.Generator, length: float, width: float, surface: Material) -> list[Part]:
    """Centre circle, three-point arcs and keys."""
    key = surface.shaded(0.85) if rng.random() < 0.5 else Material(_COURTS[rng.integers(len(_COURTS))], -17.0)
    parts = [
        Part(ellipse(0, 0, 1.8, 1.8, 16), _LINE, solid=False),
        Part(ellipse(0, 0, 1.6, 1.6, 16), key, solid=False),
    ]
    t = np.linspace(-np.pi / 2, np.pi / 2, 18)
    arc = np.stack([-np.cos(t), np.sin(t)], axis=1) * (0.25 * length, 0.44 * width)
    for end in (-1, 1):
        where = (end * length / 2, 0)
        parts += [
            Part(arc * (end, 1) + where, _LINE, solid=False),
            Part(0.97 * arc * (end, 1) + where, surface, solid=False),
            Part(rectangle(end * (length / 2 - 2.9), 0, 5.8, 4.9), _LINE, solid=False),
            Part(rectangle(end * (length / 2 - 2.8), 0, 5.6, 4.6), key, solid=False),
        ]
    return parts
