"""Bridges, and the islands of roundabouts."""

from __future__ import annotations

import dataclasses

import numpy as np

from .parts import Material, Part, ellipse, rectangle
from .surroundings import tree

_DECKS = ((96, 96, 98), (128, 126, 122), (168, 164, 156), (76, 76, 80), (146, 128, 104))
_LAWNS = ((74, 98, 54), (112, 116, 72), (58, 80, 50), (150, 136, 108), (132, 130, 124))
_LINE = Material((218, 218, 212), -15.0)
_YELLOW = Material((200, 172, 70), -15.0)


def bridge(rng: np.random.Generator, span: float, width: float, height: float, road: Material | None) -> list[Part]:
    """The deck of a bridge along x, with parapets and lane markings.

    Args:
        rng: source of randomness.
        span: length of the deck, metres.
        width: of the deck, metres; below 5 m it is a footbridge without lanes.
        height: of the deck above the ground, metres.
        road: the surface of the roads it joins, which a deck often continues; None: it has its own.
    """
    deck = road if road and rng.random() < 0.6 else Material(_DECKS[rng.integers(len(_DECKS))], -12.0)
    parts = [Part(rectangle(0, 0, span, width), deck.shaded(rng.uniform(0.9, 1.15)), height, base=height - 1.2)]
    rail = deck.shaded(rng.uniform(1.15, 1.5) if rng.random() < 0.7 else 0.7)
    thickness = rng.uniform(0.3, 0.9)
    edge = (width - thickness) / 2
    parts += [Part(rectangle(0, side * edge, span, thickness), rail, solid=False) for side in (-1, 1)]
    if rng.random() < 0.5:  # joints above the piers
        for x in np.arange(-span / 2, span / 2 + 1, max(12.0, span / rng.integers(1, 6))):
            parts.append(Part(rectangle(x, 0, 0.5, width), deck.shaded(0.7), solid=False))
    if width < 5:
        return parts
    lanes = lane_lines(span, width)
    return parts + [Part(shape, _YELLOW if rng.random() < 0.1 else _LINE, solid=False) for shape in lanes]


def lane_lines(length: float, width: float) -> list[np.ndarray]:
    """Outlines of the markings of a road along x that is centred at 0: borders, and dashes between the lanes."""
    lines = [rectangle(0, side * (width / 2 - 1.0), length, 0.2) for side in (-1, 1)]
    lanes = max(2, round((width - 2) / 3.5))
    for lane in range(1, lanes):
        y = (lane / lanes - 0.5) * (width - 2)
        lines += [rectangle(x, y, 4.0, 0.18) for x in np.arange(-length / 2 + 2, length / 2 - 2, 10.0)]
    return lines


def roundabout_island(rng: np.random.Generator, radius: float) -> list[Part]:
    """The island in the middle of a roundabout: a kerb, sometimes a paved apron, lawn, beds and trees."""
    lawn = Material(_LAWNS[rng.integers(len(_LAWNS))], -12.0)
    kerb = Material((196, 192, 182), -14.0).shaded(rng.uniform(0.8, 1.15))
    points = int(np.clip(3 * radius, 20, 72))
    parts = [Part(ellipse(0, 0, radius, radius, points), kerb, 0.2)]
    inner = radius - rng.uniform(0.4, 0.9)
    if rng.random() < 0.4:  # an apron that lorries may cross
        paving = Material(((176, 166, 148), (150, 96, 82), (140, 138, 134))[rng.integers(3)], -15.0)
        parts.append(Part(ellipse(0, 0, inner, inner, points), paving, solid=False))
        inner *= rng.uniform(0.6, 0.88)
    parts.append(Part(ellipse(0, 0, inner, inner, points), lawn.shaded(rng.uniform(0.85, 1.15)), solid=False))
    for share in np.sort(rng.uniform(0.15, 0.9, rng.integers(0, 4)))[::-1]:
        bed = lawn.shaded(rng.uniform(0.7, 1.35))
        parts.append(Part(ellipse(0, 0, share * inner, share * inner, points), bed, solid=False))
    for _ in range(rng.integers(0, 7)):
        size = min(rng.uniform(0.8, 3.5), 0.4 * inner)
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) * (inner - size)
        shift = (away * np.cos(angle), away * np.sin(angle))
        parts += [dataclasses.replace(p, outline=p.outline + shift, solid=False) for p in tree(rng, size)]
    if rng.random() < 0.2:  # a monument or a fountain
        parts.append(Part(ellipse(0, 0, 0.15 * radius, 0.15 * radius, 16), kerb, rng.uniform(0.5, 5.0), solid=False))
    return parts
