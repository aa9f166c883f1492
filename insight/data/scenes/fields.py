"""Sports fields: running tracks, football pitches and baseball diamonds."""

from __future__ import annotations

import numpy as np

from .parts import Material, Part, ellipse, rectangle

_TRACKS = ((172, 84, 66), (146, 72, 62), (190, 112, 90), (66, 100, 142), (122, 118, 114), (164, 148, 120))
_GRASS = ((84, 112, 60), (64, 92, 52), (112, 124, 74), (136, 132, 86), (58, 122, 76), (92, 116, 68))
_DIRT = ((188, 148, 104), (166, 120, 86), (202, 168, 124), (148, 104, 80), (134, 116, 100))
_LINE = Material((226, 226, 222), -15.0)


def running_track(rng: np.random.Generator, length: float, width: float) -> list[Part]:
    """A running track along x with the field it encloses; all of it is the mask."""
    surface = Material(_TRACKS[rng.choice(len(_TRACKS), p=[0.3, 0.2, 0.15, 0.1, 0.15, 0.1])], -15.0)
    surface = surface.shaded(rng.uniform(0.8, 1.15))
    lanes = width * rng.uniform(0.08, 0.13)
    inner = width - 2 * lanes
    parts = [Part(_capsule(length, width), surface)]
    for step in np.linspace(0.15, 0.85, rng.integers(0, 4)):  # lines between lanes
        offset, thickness = 2 * step * lanes, 0.3
        parts.append(Part(_capsule(length - offset, width - offset), _LINE, solid=False))
        rest = offset + thickness
        parts.append(Part(_capsule(length - rest, width - rest), surface, solid=False))
    grass = _grass(rng)
    field = length - 2 * lanes, inner
    ends = surface if rng.random() < 0.4 else grass  # the D areas may be paved too
    parts.append(Part(_capsule(*field), ends.shaded(rng.uniform(0.92, 1.05)), solid=False))
    middle = length - width
    parts.append(Part(rectangle(0, 0, middle * rng.uniform(0.9, 1.1), 0.98 * inner), grass, solid=False))
    parts += _stripes(rng, 0.95 * middle, 0.9 * inner, grass)
    if rng.random() < 0.7:
        parts += _markings(0.92 * middle, 0.84 * inner, grass)
    return parts


def football_pitch(rng: np.random.Generator, length: float, width: float) -> list[Part]:
    """A football pitch along x: grass, earth or a synthetic surface, mown in stripes, worn in front of the goals."""
    surface = _grass(rng)
    if rng.random() < 0.15:
        surface = Material(((58, 96, 150), (166, 92, 70), (164, 142, 108))[rng.integers(3)], -16.0)
    parts = [Part(rectangle(0, 0, length, width), surface)]
    parts += _stripes(rng, length, width, surface)
    margin = rng.uniform(0.0, 0.03) * length
    if rng.random() < 0.45:
        worn = Material(_DIRT[rng.integers(len(_DIRT))], -13.0).shaded(rng.uniform(0.9, 1.1))
        for x in rng.choice((-1, 1)) * length * np.array([0.46, -0.46, 0.0])[: rng.integers(1, 4)]:
            patch = ellipse(x * 0.93, 0, 0.035 * length, rng.uniform(0.04, 0.12) * width, 14)
            parts.append(Part(patch, worn, solid=False))
    if rng.random() < 0.85:
        parts += _markings(length - 2 * margin - 0.3, width - 2 * margin - 0.3, surface)
    return parts


def baseball_diamond(rng: np.random.Generator, radius: float) -> list[Part]:
    """The infield of a baseball ground: a fan around x, home plate at 0 and the arc at `radius`.

    The fan is bare earth; it may hold a lawn between the bases. The outfield is not part of it.
    """
    dirt = Material(_DIRT[rng.integers(len(_DIRT))], -14.0).shaded(rng.uniform(0.85, 1.1))
    half = np.pi / 4 + rng.uniform(0.0, 0.12)
    t = np.linspace(-half, half, 28)
    back = rng.uniform(0.0, 0.25) * radius  # how far the arc's centre lies before home plate
    arc = np.stack([back + (radius - back) * np.cos(t), (radius - back) * np.sin(t)], axis=1)
    home = 0.1 * radius
    parts = [
        Part(np.concatenate([[(-0.4 * home, -0.7 * home)], arc, [(-0.4 * home, 0.7 * home)]]), dirt),
        Part(ellipse(0, 0, home, home, 20), dirt),
    ]
    base = 0.72 * (radius - back) if back < 0.1 * radius else 0.62 * radius
    if rng.random() < 0.65:
        lawn, diagonal = _grass(rng), base * 1.22
        square = np.array([[0.12 * radius, 0], [diagonal / 2, diagonal / 2 * 0.9],
                           [0.95 * diagonal, 0], [diagonal / 2, -diagonal / 2 * 0.9]])  # fmt: skip
        parts.append(Part(square, lawn, solid=False))
    mound = 0.07 * radius
    parts.append(Part(ellipse(0.5 * base, 0, mound, mound, 14), dirt.shaded(1.05), solid=False))
    if rng.random() < 0.6:
        for side in (-1, 1):
            direction = np.array([np.cos(np.pi / 4), side * np.sin(np.pi / 4)])
            normal = np.array([-direction[1], direction[0]]) * 0.1
            end = direction * 0.92 * (radius - back)
            parts.append(Part(np.array([-normal, normal, end + normal, end - normal]), _LINE, solid=False))
    return parts


def _grass(rng: np.random.Generator) -> Material:
    return Material(_GRASS[rng.integers(len(_GRASS))], -13.0).shaded(rng.uniform(0.8, 1.2))


def _stripes(rng: np.random.Generator, length: float, width: float, grass: Material) -> list[Part]:
    """Strips mown to and fro."""
    if rng.random() < 0.5:
        return []
    count, shade = int(rng.integers(5, 14)), grass.shaded(rng.uniform(0.86, 1.12))
    pitch = length / count
    return [
        Part(rectangle((i + 0.5) * pitch - length / 2, 0, pitch, width), shade, solid=False) for i in range(0, count, 2)
    ]


def _markings(length: float, width: float, surface: Material) -> list[Part]:
    """White lines: borders, halfway line, centre circle, penalty and goal areas."""
    radius = 0.087 * length
    parts = [
        Part(ellipse(0, 0, radius, radius, 28), _LINE, solid=False),
        Part(ellipse(0, 0, radius - 0.25, radius - 0.25, 28), surface, solid=False),
    ]
    lines = [(0, 0, 0.25, width), (-length / 2, 0, 0.25, width), (length / 2, 0, 0.25, width),
             (0, -width / 2, length, 0.25), (0, width / 2, length, 0.25)]  # fmt: skip
    for end in (-1, 1):
        for depth, span in ((0.157 * length, 0.59 * width), (0.052 * length, 0.27 * width)):
            x = end * (length / 2 - depth)
            lines += [(x, 0, 0.25, span)]
            lines += [(end * (length / 2 - depth / 2), side * span / 2, depth, 0.25) for side in (-1, 1)]
    return parts + [Part(rectangle(*line), _LINE, solid=False) for line in lines]


def _capsule(length: float, width: float) -> np.ndarray:
    """Two half circles joined by straights."""
    t = np.linspace(-np.pi / 2, np.pi / 2, 24)
    radius = width / 2
    half = np.stack([(length - width) / 2 + radius * np.cos(t), radius * np.sin(t)], axis=1)
    return np.concatenate([half, -half])
