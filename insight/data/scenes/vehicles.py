"""Cars, trucks and buses, and containers that resemble them."""

from __future__ import annotations

import numpy as np

from .parts import Material, Part, chamfered, rectangle

_GLASS = Material((34, 40, 48), -6.0)
_CAR_PAINTS = (
    ((232, 232, 230), 0.26), ((176, 180, 184), 0.20), ((44, 46, 50), 0.18), ((112, 116, 120), 0.14),
    ((150, 34, 32), 0.08), ((40, 66, 126), 0.08), ((120, 96, 70), 0.03), ((66, 92, 72), 0.03),
)  # fmt: skip
_LOAD_COLOURS = ((226, 226, 222), (58, 88, 142), (150, 52, 42), (84, 112, 80), (182, 140, 58), (120, 122, 124))


def car(rng: np.random.Generator) -> list[Part]:
    """A car, van or pickup, 3.6 to 5.4 m long."""
    colours, shares = zip(*_CAR_PAINTS)
    paint = Material(colours[rng.choice(len(colours), p=np.array(shares))], rng.uniform(-3, 3))
    length, width = rng.uniform(3.7, 4.9), rng.uniform(1.65, 1.95)
    kind = rng.random()
    body = chamfered(0, 0, length, width, 0.32)
    if kind < 0.18:  # van: a roof over almost all of its length
        length *= 1.08
        body = chamfered(0, 0, length, width * 1.04, 0.25)
        return [
            Part(body, paint, 2.0),
            Part(rectangle(0.33 * length, 0, 0.10 * length, 0.78 * width), _GLASS, solid=False),
            Part(rectangle(-0.08 * length, 0, 0.70 * length, 0.80 * width), paint.shaded(1.08), solid=False),
        ]
    if kind < 0.28:  # pickup: an open bed behind
        return [
            Part(body, paint, 1.6),
            Part(rectangle(-0.28 * length, 0, 0.34 * length, 0.74 * width), paint.shaded(0.55), solid=False),
            Part(rectangle(0.17 * length, 0, 0.10 * length, 0.74 * width), _GLASS, solid=False),
            Part(rectangle(0.04 * length, 0, 0.18 * length, 0.74 * width), paint.shaded(1.06), solid=False),
        ]
    return [
        Part(body, paint, 1.5),
        Part(chamfered(-0.06 * length, 0, 0.60 * length, 0.84 * width, 0.2), _GLASS, solid=False),
        Part(rectangle(-0.08 * length, 0, 0.32 * length, 0.76 * width), paint.shaded(1.05), solid=False),
    ]


def truck(rng: np.random.Generator) -> list[Part]:
    """A lorry, articulated lorry or bus, 7.5 to 16 m long."""
    if rng.random() < 0.3:
        return _bus(rng)
    cab_paint = Material(((228, 228, 226), (160, 40, 36), (42, 72, 140), (60, 62, 66))[rng.integers(4)], 2.0)
    load_paint = Material(_LOAD_COLOURS[rng.integers(len(_LOAD_COLOURS))], 3.0)
    load, cab, width = rng.uniform(5.2, 12.5), rng.uniform(1.9, 2.5), rng.uniform(2.35, 2.6)
    gap = rng.uniform(0.25, 0.8)
    half = (load + gap + cab) / 2
    load_x, cab_x = -half + load / 2, half - cab / 2
    parts = [
        Part(rectangle(half - cab - gap, 0, 2 * gap + 0.4, 0.55 * width), Material((52, 52, 54), -4.0), 1.2),
        Part(chamfered(cab_x, 0, cab, width, 0.3), cab_paint, 2.8),
        Part(rectangle(cab_x + 0.32 * cab, 0, 0.18 * cab, 0.82 * width), _GLASS, solid=False),
        Part(rectangle(load_x, 0, load, width), load_paint, 3.6),
    ]
    if rng.random() < 0.3:  # open load bed
        parts.append(Part(rectangle(load_x, 0, load - 0.5, width - 0.4), load_paint.shaded(0.55), solid=False))
    else:
        parts.append(Part(rectangle(load_x, 0, load - 0.3, 0.10 * width), load_paint.shaded(1.1), solid=False))
    return parts


def _bus(rng: np.random.Generator) -> list[Part]:
    paint = Material(((236, 236, 232), (206, 160, 48), (172, 44, 40), (66, 110, 168))[rng.integers(4)], 3.0)
    length, width = rng.uniform(9.5, 13.5), rng.uniform(2.4, 2.6)
    parts = [
        Part(chamfered(0, 0, length, width, 0.3), paint, 3.2),
        Part(rectangle(0.47 * length, 0, 0.035 * length, 0.84 * width), _GLASS, solid=False),
    ]
    for x in np.linspace(-0.32, 0.25, rng.integers(2, 4)) * length:
        parts.append(Part(rectangle(x, 0, 1.2, 1.1), paint.shaded(0.78), solid=False))
    return parts


def container(rng: np.random.Generator) -> list[Part]:
    """A shipping container: as long and wide as a lorry, without cab, gap or glass."""
    paint = Material(_LOAD_COLOURS[rng.integers(len(_LOAD_COLOURS))], 4.0)
    length = (6.06, 12.19)[rng.integers(2)]
    ribs = [
        Part(rectangle(x, 0, 0.16, 2.3), paint.shaded(0.85), solid=False)
        for x in np.linspace(-0.42, 0.42, 6 if length < 7 else 9) * length
    ]
    return [Part(rectangle(0, 0, length, 2.44), paint, 2.6 * rng.integers(1, 4)), *ribs]
