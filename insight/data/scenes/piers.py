"""Piers: decks over water, with fingers that boats berth between, and jetties with heads and platforms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .parts import Material, Part, rectangle

_DECKS = (
    Material((158, 148, 130), -9.0),
    Material((186, 184, 176), -9.0),
    Material((118, 108, 96), -10.0),
    Material((206, 204, 198), -8.0),
    Material((92, 86, 80), -10.0),
)


def berthing_pier(
    rng: np.random.Generator, length: float, width: float, fingers: Sequence[tuple[float, int, float]]
) -> list[Part]:
    """A pier with finger piers at right angles, and sometimes a T-shaped head.

    Args:
        rng: source of randomness.
        length: of the deck from the shore at 0 to its end at positive x, metres.
        width: of the deck, metres.
        fingers: (x along the deck, side -1 or 1, length), metres; a finger begins at the deck's edge.
    """
    deck, height = _DECKS[rng.integers(len(_DECKS))], rng.uniform(0.5, 1.4)
    thickness = width * rng.uniform(0.22, 0.45)
    shapes = [
        rectangle(x, side * (width + reach) / 2, max(thickness, 0.7), reach + 0.2 * width) for x, side, reach in fingers
    ]
    if rng.random() < 0.35:
        shapes.append(rectangle(length - width / 2, 0, width, width * rng.uniform(3, 8)))
    shapes.append(rectangle(length / 2, 0, length, width))
    return _decked(rng, shapes, deck, height) + _planks(rng, length, width, deck)


def jetty(rng: np.random.Generator, length: float, width: float) -> list[Part]:
    """A walkway from the shore at 0 towards positive x: straight or bent, with an L- or T-shaped head or a platform."""
    deck, height = _DECKS[rng.integers(len(_DECKS))], rng.uniform(0.8, 2.5)
    knee = length * (rng.uniform(0.35, 0.7) if rng.random() < 0.35 else 1.0)
    shapes = [rectangle(knee / 2, 0, knee, width)]
    angle, end = 0.0, np.array([knee, 0.0])
    if knee < length:
        angle = rng.choice((-1, 1)) * rng.uniform(0.2, 1.0)
        shapes.append(_turned(rectangle((length - knee) / 2, 0, length - knee + width, width), angle, end))
        end = end + (length - knee) * np.array([np.cos(angle), np.sin(angle)])
    kind = rng.random()
    across = width * rng.uniform(2.5, 7)
    if kind < 0.3:  # T
        shapes.append(_turned(rectangle(0, 0, width * rng.uniform(0.9, 1.8), across), angle, end))
    elif kind < 0.55:  # L
        arm = rectangle(0, rng.choice((-1, 1)) * (across - width) / 2, width * rng.uniform(0.9, 1.6), across)
        shapes.append(_turned(arm, angle, end))
    elif kind < 0.85:  # platform, often with a roof
        side = width * rng.uniform(1.8, 3.5)
        shapes.append(_turned(rectangle(side / 2, 0, side * rng.uniform(1.0, 1.7), side), angle, end))
    for _ in range(rng.integers(0, 3)):  # platforms and moorings along the way
        x, side = rng.uniform(0.3, 0.9) * knee, rng.choice((-1, 1))
        shapes.append(rectangle(x, side * width, width * rng.uniform(0.6, 2.0), width * rng.uniform(1.0, 2.2)))
    return _decked(rng, shapes, deck, height) + _planks(rng, knee, width, deck)


def _decked(rng: np.random.Generator, shapes: Sequence[np.ndarray], deck: Material, height: float) -> list[Part]:
    """Prisms on piles; no two of them have been weathered alike."""
    return [Part(shape, deck.shaded(rng.uniform(0.92, 1.06)), height, base=0.6 * height) for shape in shapes]


def _planks(rng: np.random.Generator, length: float, width: float, deck: Material) -> list[Part]:
    """Darker planks or slab joints across the deck, and things left on it."""
    count = int(min(14, length / 4))
    parts = []
    for x in rng.uniform(0.02, 0.98, count) * length:
        shade = deck.shaded(rng.uniform(0.75, 1.12))
        parts.append(Part(rectangle(x, 0, rng.uniform(0.3, 2.0), width * rng.uniform(0.5, 0.95)), shade, solid=False))
    return parts


def _turned(outline: np.ndarray, angle: float, origin: np.ndarray) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return outline @ np.array([[c, s], [-s, c]]) + origin
