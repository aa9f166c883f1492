"""Boneyards: airplanes and helicopters stored side by side on bare ground."""

from __future__ import annotations

import numpy as np

from .aircraft import airplane, fighter, propeller_airplane, stored_helicopter
from .canvas import Canvas
from .parts import Material, rectangle
from .textures import CONCRETE, GRASS, SOIL
from .vehicles import car, container, truck

GSD = (0.12, 0.70)  # metres a pixel

_TRACK = Material((150, 132, 104), -13.0)


def draw(canvas: Canvas) -> None:
    """Draw rows of aircraft along x; the aircraft of a row are of one type and stand alike."""
    rng, reach = canvas.rng, canvas.reach
    canvas.lay([(None, (SOIL + GRASS[1:2] + CONCRETE + GRASS[:1])[rng.integers(8)])])
    y = -reach - rng.uniform(0, 15)
    while y < reach:
        y += _row(canvas, y)
        if rng.random() < 0.5:
            lane = rng.uniform(5, 9)
            canvas.stain([rectangle(0, y + lane / 2, 2.4 * reach, lane)], _TRACK, rng.uniform(0.2, 0.6), 0.8)
            for x in rng.uniform(-1, 1, rng.poisson(reach / 60)) * reach:
                vehicle = car(rng) if rng.random() < 0.5 else truck(rng)
                canvas.place(vehicle, x, y + lane / 2, np.pi * rng.integers(2), "vehicle")
            y += lane
    canvas.flush()


def _row(canvas: Canvas, y: float) -> float:
    """One row whose upper edge is y; returns its depth, metres."""
    rng, reach = canvas.rng, canvas.reach
    kind = rng.choice(4, p=(0.42, 0.28, 0.15, 0.15))
    length = (rng.uniform(9, 15), rng.uniform(13, 20), rng.uniform(8, 20), rng.uniform(24, 44))[kind]
    maker = (stored_helicopter, fighter, propeller_airplane, airplane)[kind]
    share = (rng.uniform(0.3, 0.55), rng.uniform(0.62, 0.9), rng.uniform(1.1, 1.45), rng.uniform(0.95, 1.1))[kind]
    pitch = share * length
    heading = rng.choice((-1, 1)) * np.pi / 2 + rng.choice((0.0, rng.uniform(-0.6, 0.6)), p=(0.7, 0.3))
    full, skew = rng.uniform(0.6, 1.0), rng.choice((0.01, 0.06))
    alike = rng.integers(2**32)
    for x in np.arange(-reach - rng.uniform(0, pitch), reach + pitch, pitch):
        if not canvas.in_view(x, y + length / 2, length):
            continue
        if rng.random() > full:
            if rng.random() < 0.2:
                canvas.place(container(rng), x, y + length / 2, heading)
            continue
        # Most are of the type and paint of their neighbours.
        own = np.random.default_rng(alike) if rng.random() < 0.7 else rng
        canvas.place(maker(own, length), x + rng.normal(0, 0.02) * length, y + length * (0.5 + rng.normal(0, 0.02)),
                     heading + rng.normal(0, skew), "helicopter" if kind == 0 else "airplane")  # fmt: skip
    return length * rng.uniform(1.02, 1.3)
