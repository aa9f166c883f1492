"""Airplanes and helicopters."""

from __future__ import annotations

import numpy as np

from .parts import Material, Part, ellipse, mirrored, rectangle

_FUSELAGES = ((238, 238, 236), (224, 226, 228), (206, 210, 214), (150, 156, 162))
_TAILS = ((176, 40, 38), (36, 64, 134), (238, 238, 236), (48, 112, 92), (212, 160, 44), (72, 72, 78))
_MILITARY = ((128, 134, 140), (104, 112, 108), (150, 148, 132), (92, 98, 106))
_GLASS = Material((40, 46, 54), 0.0)


def airplane(rng: np.random.Generator, length: float) -> list[Part]:
    """An airplane of the given length; its nose points along x. Short ones have propellers, swept wings or deltas."""
    if length < 24:
        kind = rng.random()
        if kind < 0.35:
            return _propeller(rng, length)
        if kind < 0.6:
            return _fighter(rng, length)
    return _jet(rng, length)


def _jet(rng: np.random.Generator, length: float) -> list[Part]:
    """A jet airliner or business jet."""
    paint = Material(_FUSELAGES[rng.choice(4, p=[0.45, 0.25, 0.15, 0.15])], 2.0)
    wing_paint = Material((196, 200, 204), 0.0).shaded(rng.uniform(0.88, 1.1))
    tail_paint = Material(_TAILS[rng.integers(len(_TAILS))], 2.0)
    business = length < 24
    radius = length * (0.045 if business else rng.uniform(0.047, 0.056))
    span = length * rng.uniform(0.82, 1.04)
    sweep = rng.uniform(0.22, 0.5)  # how far the tips lie behind the roots, in half spans
    root_x, chord, tip_chord = rng.uniform(0.08, 0.14) * length, rng.uniform(0.15, 0.19) * length, 0.05 * length
    tip_x = root_x - sweep * span / 2
    wing = np.array([[root_x, 0.0], [tip_x, span / 2], [tip_x - tip_chord, span / 2], [root_x - chord, 0.0]])
    # The trailing edge bends near the fuselage.
    fillet = np.array([[root_x - 0.1 * chord, 0.0], [root_x - 0.6 * chord, 0.16 * span],
                       [root_x - 1.02 * chord, 0.16 * span], [root_x - 1.25 * chord, 0.0]])  # fmt: skip
    parts = _both_sides((wing, fillet), wing_paint, 0.07 * length)
    tail = _tailplane(-0.40 * length, rng.uniform(0.3, 0.38) * span, length)
    parts += _both_sides((tail,), wing_paint.shaded(0.95), (0.2 if business else 0.11) * length)
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
    parts += [Part(pod, engine, 0.06 * length, base=0.03 * length) for pod in pods]
    return parts + _body(length, radius, paint, tail_paint)


def _propeller(rng: np.random.Generator, length: float) -> list[Part]:
    """A light or regional airplane with straight wings and one or two propellers."""
    paint = Material(_FUSELAGES[rng.integers(3)], 2.0)
    wing_paint = paint.shaded(rng.uniform(0.85, 1.05))
    span, chord = length * rng.uniform(1.05, 1.4), length * rng.uniform(0.15, 0.2)
    root_x = rng.uniform(0.12, 0.2) * length
    taper = rng.uniform(0.55, 1.0)
    wing = np.array([[root_x, 0.0], [root_x - 0.1 * chord, span / 2],
                     [root_x - (0.1 + 0.9 * taper) * chord, span / 2], [root_x - chord, 0.0]])  # fmt: skip
    parts = _both_sides((wing,), wing_paint, 0.16 * length)
    tail = _tailplane(-0.38 * length, 0.34 * span, length, sweep=0.3)
    parts += _both_sides((tail,), wing_paint, 0.12 * length)
    if rng.random() < 0.5:
        for side in (-1, 1):
            nacelle = ellipse(root_x + 0.02 * length, side * 0.2 * span, 0.12 * length, 0.03 * length, 14)
            parts.append(Part(nacelle, paint.shaded(0.9), 0.15 * length, base=0.08 * length))
            disc = rectangle(root_x + 0.15 * length, side * 0.2 * span, 0.012 * length, 0.2 * length)
            parts.append(Part(disc, _GLASS, 0.15 * length, solid=False, base=0.14 * length))
    return parts + _body(length, length * rng.uniform(0.05, 0.065), paint, Material(_TAILS[rng.integers(6)], 2.0))


def _fighter(rng: np.random.Generator, length: float) -> list[Part]:
    """A combat airplane: delta or swept wings set far back, a pointed nose."""
    paint = Material(_MILITARY[rng.integers(len(_MILITARY))], 3.0).shaded(rng.uniform(0.85, 1.15))
    span = length * rng.uniform(0.58, 0.74)
    root_x, trailing = rng.uniform(0.08, 0.2) * length, rng.uniform(-0.36, -0.28) * length
    tip_x = trailing + rng.uniform(0.02, 0.12) * length
    wing = np.array([[root_x, 0.0], [tip_x, span / 2], [tip_x - 0.06 * length, span / 2], [trailing, 0.0]])
    parts = _both_sides((wing,), paint, 0.11 * length)
    parts += _both_sides((_tailplane(-0.33 * length, rng.uniform(0.4, 0.6) * span, length),), paint, 0.11 * length)
    radius = length * rng.uniform(0.045, 0.06)
    nose = np.array([[0.5 * length, 0.0], [0.3 * length, 0.7 * radius], [0.0, radius], [-0.46 * length, radius]])
    parts += [
        Part(np.concatenate([nose, mirrored(nose[1:])[::-1]]), paint.shaded(1.05), 0.13 * length, base=0.05 * length),
        Part(ellipse(0.24 * length, 0, 0.07 * length, 0.5 * radius, 12), _GLASS, solid=False),
    ]
    for side in (-1, 1) if rng.random() < 0.5 else (0,):
        fin = rectangle(-0.38 * length, side * 0.8 * radius, 0.15 * length, 0.02 * length)
        parts.append(Part(fin, paint.shaded(0.85), 0.24 * length, base=0.12 * length))
    return parts


def helicopter(rng: np.random.Generator, length: float) -> list[Part]:
    """A helicopter whose fuselage has the given length; its rotor blades belong to it."""
    colours = _MILITARY + _TAILS[:2] + _FUSELAGES[:2]
    paint = Material(colours[rng.integers(len(colours))], 2.0)
    height, width = 0.25 * length, length * rng.uniform(0.14, 0.2)
    boom = np.array([[0.0, 0.3 * width], [-0.5 * length, 0.1 * width]])
    cabin = ellipse(0.2 * length, 0, 0.27 * length, width / 2, 20)
    parts = [
        Part(np.concatenate([boom, mirrored(boom)[::-1]]), paint.shaded(0.92), 0.2 * length, base=0.12 * length),
        Part(
            rectangle(-0.42 * length, 0, 0.07 * length, 0.24 * length),
            paint.shaded(0.85),
            0.2 * length,
            base=0.19 * length,
        ),
        Part(cabin, paint, height, base=0.04 * length),
        Part(ellipse(0.36 * length, 0, 0.09 * length, 0.36 * width, 12), _GLASS, solid=False),
    ]
    blade = Material((58, 60, 64), 0.0).shaded(rng.uniform(0.8, 1.6))
    count, turn = int(rng.integers(2, 6)), rng.uniform(0, 2 * np.pi)
    radius, chord = length * rng.uniform(0.42, 0.54), length * rng.uniform(0.02, 0.032)
    for angle in turn + np.arange(count) * 2 * np.pi / count:
        c, s = np.cos(angle), np.sin(angle)
        shape = rectangle(radius / 2, 0, radius, chord) @ np.array([[c, s], [-s, c]]) + (0.16 * length, 0)
        parts.append(Part(shape, blade, 1.25 * height, base=1.2 * height))
    return parts


def _both_sides(shapes: tuple[np.ndarray, ...], paint: Material, height: float) -> list[Part]:
    """Flat surfaces on both sides of the fuselage."""
    return [Part(shape, paint, height, base=0.9 * height) for half in shapes for shape in (half, mirrored(half))]


def _tailplane(x: float, span: float, length: float, sweep: float = 1.0) -> np.ndarray:
    back = sweep * 0.07 * length
    return np.array([[x, 0.0], [x - back, span / 2], [x - back - 0.025 * length, span / 2], [x - 0.075 * length, 0.0]])


def _body(length: float, radius: float, paint: Material, tail_paint: Material) -> list[Part]:
    """Fuselage, fin and cockpit."""
    return [
        Part(_fuselage(length, radius), paint, 0.13 * length, base=0.04 * length),
        Part(rectangle(0, 0, 0.8 * length, 0.7 * radius), paint.shaded(1.06), solid=False),
        Part(ellipse(0.455 * length, 0, 0.012 * length, 0.5 * radius, 10), _GLASS, solid=False),
        Part(rectangle(-0.42 * length, 0, 0.14 * length, 0.32 * radius), tail_paint, 0.26 * length, base=0.12 * length),
    ]


def _fuselage(length: float, radius: float) -> np.ndarray:
    """A tube with a blunt nose and a long tapered tail."""
    nose = np.linspace(-np.pi / 2, np.pi / 2, 9)
    front = np.stack([length * (0.40 + 0.10 * np.cos(nose)), radius * np.sin(nose)], axis=1)
    tail = np.array([[-0.22 * length, radius], [-0.40 * length, 0.6 * radius], [-0.5 * length, 0.15 * radius]])
    return np.concatenate([front, tail, mirrored(tail)[::-1]])
