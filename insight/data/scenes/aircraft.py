"""Airplanes."""

from __future__ import annotations

import numpy as np

from .parts import Material, Part, ellipse, mirrored, rectangle

_FUSELAGES = ((238, 238, 236), (224, 226, 228), (206, 210, 214), (150, 156, 162))
_TAILS = ((176, 40, 38), (36, 64, 134), (238, 238, 236), (48, 112, 92), (212, 160, 44), (72, 72, 78))


def airplane(rng: np.random.Generator, length: float) -> list[Part]:
    """A jet airliner or business jet of the given length; its nose points along x."""
    paint = Material(_FUSELAGES[rng.choice(4, p=[0.45, 0.25, 0.15, 0.15])], 2.0)
    wing_paint = Material((196, 200, 204), 0.0).shaded(rng.uniform(0.88, 1.1))
    tail_paint = Material(_TAILS[rng.integers(len(_TAILS))], 2.0)
    business = length < 24
    radius = length * (0.045 if business else rng.uniform(0.047, 0.056))
    span = length * rng.uniform(0.86, 1.02)
    sweep = rng.uniform(0.26, 0.42)  # how far the tips lie behind the roots, in half spans
    root_x, chord, tip_chord = 0.10 * length, 0.17 * length, 0.05 * length
    tip_x = root_x - sweep * span / 2
    wing = np.array([[root_x, 0.0], [tip_x, span / 2], [tip_x - tip_chord, span / 2], [root_x - chord, 0.0]])
    # The trailing edge bends near the fuselage.
    fillet = np.array([[root_x - 0.1 * chord, 0.0], [root_x - 0.6 * chord, 0.16 * span],
                       [root_x - 1.02 * chord, 0.16 * span], [root_x - 1.25 * chord, 0.0]])  # fmt: skip
    tail_x, tail_span = -0.40 * length, 0.34 * span
    tail = np.array([[tail_x, 0.0], [tail_x - 0.07 * length, tail_span / 2],
                     [tail_x - 0.095 * length, tail_span / 2], [tail_x - 0.075 * length, 0.0]])  # fmt: skip
    height = 0.13 * length

    parts = [Part(shape, wing_paint, 0.07 * length) for half in (wing, fillet) for shape in (half, mirrored(half))]
    parts += [Part(shape, wing_paint.shaded(0.95), 0.11 * length) for shape in (tail, mirrored(tail))]
    engine = Material((168, 172, 176), 4.0)
    if business:
        pods = [rectangle(-0.24 * length, side * 1.9 * radius, 0.13 * length, 1.1 * radius) for side in (-1, 1)]
    else:
        stations = (0.17, 0.29) if rng.random() < 0.25 else (0.18,)
        pods = [
            ellipse(root_x - sweep * s * span + 0.02 * length, side * s * span, 0.062 * length, 0.026 * length, 14)
            for s in stations
            for side in (-1, 1)
        ]
    parts += [Part(pod, engine, 0.05 * length) for pod in pods]
    parts += [
        Part(_fuselage(length, radius), paint, height),
        Part(rectangle(0, 0, 0.8 * length, 0.7 * radius), paint.shaded(1.06), solid=False),
        Part(rectangle(-0.42 * length, 0, 0.14 * length, 0.32 * radius), tail_paint, 0.26 * length),
        Part(ellipse(0.455 * length, 0, 0.012 * length, 0.5 * radius, 10), Material((40, 46, 54), 0.0), solid=False),
    ]
    return parts


def _fuselage(length: float, radius: float) -> np.ndarray:
    """A tube with a blunt nose and a long tapered tail."""
    nose = np.linspace(-np.pi / 2, np.pi / 2, 9)
    front = np.stack([length * (0.40 + 0.10 * np.cos(nose)), radius * np.sin(nose)], axis=1)
    tail = np.array([[-0.22 * length, radius], [-0.40 * length, 0.6 * radius], [-0.5 * length, 0.15 * radius]])
    return np.concatenate([front, tail, mirrored(tail)[::-1]])
