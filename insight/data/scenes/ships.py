"""Boats and ships, with the wakes of those that move."""

from __future__ import annotations

import numpy as np

from .parts import Material, Part, chamfered, ellipse, rectangle

_HULLS = ((236, 236, 232), (214, 216, 218), (70, 84, 110), (128, 52, 44), (58, 62, 66), (196, 188, 168))
_DECKS = ((206, 198, 178), (152, 84, 64), (96, 118, 104), (170, 172, 172), (132, 104, 74))
_GLASS = Material((38, 46, 56), -5.0)
# A bow from its tip, 1 long and 1 wide on each side.
_BOW = np.array([(np.sin(t), np.cos(t) ** 0.75) for t in np.linspace(np.pi / 2 - 1e-9, 0, 6)])


def hull(length: float, width: float, bow: float, stern: float) -> np.ndarray:
    """Outline of a hull: the bow is a share `bow` of the length, the transom a share `stern` of the width."""
    half = length / 2
    starboard = _BOW * (bow * length, width / 2) + (half - bow * length, 0)
    side = np.concatenate([starboard, [(-0.8 * half, width / 2), (-half, stern * width / 2)]])
    return np.concatenate([side, side[:0:-1] * (1, -1)])


def boat(rng: np.random.Generator, length: float) -> list[Part]:
    """A motor boat, sailing boat or open dinghy of the given length."""
    kind = rng.random()
    width = length * rng.uniform(0.27, 0.36) * (1.0 if length < 14 else 0.8)
    white = Material(_HULLS[rng.choice(6, p=[0.45, 0.2, 0.12, 0.08, 0.08, 0.07])], rng.uniform(-2, 3))
    outline = hull(length, width, rng.uniform(0.3, 0.5), rng.uniform(0.65, 0.95))
    deck = Material(_DECKS[rng.integers(len(_DECKS))], -3.0)
    parts = [Part(outline, white, 0.11 * length)]
    if kind < 0.35:  # sailing boat: cabin, cockpit, boom and mast
        parts += [
            Part(chamfered(0.08 * length, 0, 0.32 * length, 0.5 * width, 0.1), white.shaded(0.86), solid=False),
            Part(rectangle(-0.28 * length, 0, 0.28 * length, 0.5 * width), deck.shaded(0.8), solid=False),
            Part(rectangle(-0.08 * length, 0, 0.4 * length, 0.05 * width), white.shaded(1.15), solid=False),
            Part(ellipse(0.1 * length, 0, 0.012 * length, 0.012 * length, 8), white, 1.1 * length, solid=False),
        ]
    elif kind < 0.8:  # motor boat: cockpit, windscreen, cabin
        cabin = rng.uniform(0.28, 0.42)
        parts += [
            Part(rectangle(-0.30 * length, 0, 0.30 * length, 0.72 * width), deck, solid=False),
            Part(chamfered(0.05 * length, 0, cabin * length, 0.66 * width, 0.12 * width), _GLASS, solid=False),
            Part(rectangle(0.01 * length, 0, 0.7 * cabin * length, 0.58 * width), white.shaded(0.95), solid=False),
        ]
    else:  # open boat: thwarts
        parts.append(Part(hull(0.84 * length, 0.7 * width, 0.4, 0.8), deck.shaded(0.75), solid=False))
        parts += [
            Part(rectangle(x * length, 0, 0.06 * length, 0.68 * width), white.shaded(0.9), solid=False)
            for x in (-0.25, 0.0, 0.2)
        ]
    return parts


def ship(rng: np.random.Generator, length: float) -> list[Part]:
    """A cargo ship, tanker or ferry of the given length, 40 m and more."""
    width = length * rng.uniform(0.14, 0.19)
    paint = Material(_HULLS[rng.choice(6, p=[0.15, 0.15, 0.2, 0.2, 0.2, 0.1])], 2.0)
    deck = Material(_DECKS[rng.integers(len(_DECKS))], 0.0)
    white = Material((232, 232, 228), 5.0)
    parts = [
        Part(hull(length, width, 0.2, 0.85), paint, 0.06 * length),
        Part(hull(0.97 * length, 0.88 * width, 0.2, 0.85), deck, solid=False),
    ]
    kind = rng.random()
    if kind < 0.4:  # hatches or rows of containers
        for x in np.arange(-0.22, 0.34, rng.uniform(0.075, 0.12)):
            if rng.random() < 0.5:
                cover = deck.shaded(rng.uniform(0.6, 0.8))
                parts.append(Part(rectangle(x * length, 0, 0.06 * length, 0.6 * width), cover, solid=False))
                continue
            for y in (-0.27, 0.0, 0.27):
                colour = Material(((58, 88, 142), (150, 52, 42), (190, 188, 180), (90, 120, 84))[rng.integers(4)], 5.0)
                parts.append(Part(rectangle(x * length, y * width, 0.065 * length, 0.24 * width), colour, solid=False))
    elif kind < 0.75:  # tanker: pipes along the deck, manifold amidships
        pipe = deck.shaded(0.6)
        parts += [Part(rectangle(0.08 * length, y * width, 0.6 * length, 0.03 * width), pipe, solid=False)
                  for y in (-0.05, 0.04)]  # fmt: skip
        parts.append(Part(rectangle(0.05 * length, 0, 0.02 * length, 0.7 * width), pipe, solid=False))
    else:  # ferry: a superstructure over most of the length
        parts.append(Part(chamfered(0.02 * length, 0, 0.62 * length, 0.76 * width, 3.0), white, 0.13 * length))
        parts.append(Part(rectangle(-0.1 * length, 0, 0.08 * length, 0.3 * width), paint.shaded(0.8), solid=False))
        return parts
    parts += [
        Part(rectangle(-0.36 * length, 0, 0.12 * length, 0.78 * width), white, 0.17 * length),
        Part(rectangle(-0.31 * length, 0, 0.015 * length, 0.8 * width), _GLASS, solid=False),
        Part(ellipse(-0.40 * length, 0, 0.018 * length, 0.12 * width, 12), paint.shaded(0.7), solid=False),
    ]
    return parts


def wake(length: float, width: float) -> list[np.ndarray]:
    """Convex outlines of the foam behind a moving hull, in its frame."""
    half = length / 2
    trail = np.array([[-half, -0.35 * width], [-half, 0.35 * width],
                      [-half - 3.0 * length, 0.9 * width], [-half - 3.0 * length, -0.9 * width]])  # fmt: skip
    arm = np.array([[0.3 * half, 0.5 * width], [0.1 * half, 0.6 * width],
                    [-half - 1.6 * length, 0.72 * length], [-half - 1.6 * length, 0.66 * length]])  # fmt: skip
    return [trail, arm, arm * (1, -1)]
