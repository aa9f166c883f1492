"""Airplanes and helicopters."""

from __future__ import annotations

import numpy as np

from .parts import Material, Part, ellipse, mirrored, rectangle

_FUSELAGES = ((238, 238, 236), (224, 226, 228), (206, 210, 214), (150, 156, 162))
_TAILS = ((176, 40, 38), (36, 64, 134), (238, 238, 236), (48, 112, 92), (212, 160, 44), (72, 72, 78))
_MILITARY = ((128, 134, 140), (104, 112, 108), (150, 148, 132), (92, 98, 106))
_GLASS = Material((40, 46, 54), 0.0)
_ROTOR = 0.14  # where the main rotor stands, in lengths of the helicopter ahead of its middle


def airplane(rng: np.random.Generator, length: float) -> list[Part]:
    """An airplane of the given length; its nose points along x. Short ones have propellers, swept wings or deltas."""
    if length < 24:
        kind = rng.random()
        if kind < 0.35:
            return propeller_airplane(rng, length)
        if kind < 0.6:
            return fighter(rng, length)
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


def propeller_airplane(rng: np.random.Generator, length: float) -> list[Part]:
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


def fighter(rng: np.random.Generator, length: float) -> list[Part]:
    """A combat airplane: a delta or trapezoidal wings, a pointed nose."""
    paint = Material(_MILITARY[rng.integers(len(_MILITARY))], 3.0).shaded(rng.uniform(0.85, 1.15))
    span = length * rng.uniform(0.58, 0.74)
    root_x, trailing = rng.uniform(0.08, 0.2) * length, rng.uniform(-0.36, -0.28) * length
    tip_x = trailing + rng.uniform(0.02, 0.12) * length
    if rng.random() < 0.5:  # trapezoidal wings amidships instead of a delta
        trailing = root_x - rng.uniform(0.24, 0.36) * length
        tip_x = root_x - rng.uniform(0.08, 0.22) * length
    wing = np.array([[root_x, 0.0], [tip_x, span / 2], [tip_x - 0.06 * length, span / 2], [trailing, 0.0]])
    parts = _both_sides((wing,), paint, 0.11 * length)
    parts += _both_sides((_tailplane(-0.33 * length, rng.uniform(0.4, 0.6) * span, length),), paint, 0.11 * length)
    radius = length * rng.uniform(0.045, 0.06)
    nose = np.array([[0.5 * length, 0.0], [0.3 * length, 0.7 * radius], [0.0, radius], [-0.46 * length, radius]])
    parts += [
        Part(np.concatenate([nose, mirrored(nose[1:])[::-1]]), paint.shaded(1.05), 0.13 * length, base=0.05 * length),
        Part(ellipse(0.24 * length, 0, 0.07 * length, 0.5 * radius, 12), _GLASS, solid=False),
    ]
    parts += _weathering(rng, length, span, root_x, trailing, paint)
    for side in (-1, 1) if rng.random() < 0.5 else (0,):
        fin = rectangle(-0.38 * length, side * 0.8 * radius, 0.15 * length, 0.02 * length)
        parts.append(Part(fin, paint.shaded(0.85), 0.24 * length, base=0.12 * length))
    return parts


def _weathering(
    rng: np.random.Generator, length: float, span: float, root: float, trailing: float, paint: Material
) -> list[Part]:
    """Panels of another paint on a combat airplane, a dark radome and soot around the exhaust."""
    parts = []
    if rng.random() < 0.5:
        shade, x, y = paint.shaded(rng.uniform(0.6, 1.3)), (root + 2 * trailing) / 3, 0.16 * span
        parts += [Part(rectangle(x, side * y, 0.1 * length, 0.1 * span), shade, solid=False) for side in (-1, 1)]
    if rng.random() < 0.5:
        parts.append(Part(ellipse(0.44 * length, 0, 0.05 * length, 0.02 * length, 10), paint.shaded(0.5), solid=False))
    if rng.random() < 0.6:
        soot = rectangle(-0.43 * length, 0, 0.07 * length, 0.06 * length)
        parts.append(Part(soot, Material((46, 44, 44), -4.0), solid=False))
    return parts


def helicopter(rng: np.random.Generator, length: float) -> list[Part]:
    """A helicopter whose fuselage has the given length; its rotor blades belong to it."""
    parts = _rotorless(rng, length)
    blade = Material((58, 60, 64), 0.0).shaded(rng.uniform(0.8, 2.6))
    count, turn = int(rng.integers(2, 6)), rng.uniform(0, 2 * np.pi)
    radius, chord = length * rng.uniform(0.42, 0.54), length * rng.uniform(0.018, 0.032)
    return parts + [_blade(radius, chord, turn + i * 2 * np.pi / count, blade, length) for i in range(count)]


def stored_helicopter(rng: np.random.Generator, length: float) -> list[Part]:
    """A helicopter out of use: without its blades, or with the blades folded back along the tail boom."""
    parts = _rotorless(rng, length)
    draw = rng.random()
    if draw < 0.7:
        return parts
    blade = Material((78, 80, 82), 0.0).shaded(rng.uniform(0.7, 2.4))
    if draw < 0.85:
        angles = np.pi + rng.uniform(-0.16, 0.16, rng.integers(2, 5))
    else:  # two blades in line with the fuselage
        angles = np.array([0.0, np.pi]) + rng.normal(0, 0.04)
    return parts + [_blade(0.5 * length, 0.022 * length, angle, blade, length) for angle in angles]


def _rotorless(rng: np.random.Generator, length: float) -> list[Part]:
    """Cabin, tail boom, tailplane, fin and engines of a helicopter."""
    colours = _MILITARY * 2 + _TAILS[:2] + _FUSELAGES[:3] * 2
    paint = Material(colours[rng.integers(len(colours))], 2.0).shaded(rng.uniform(0.9, 1.1))
    height, width = 0.25 * length, length * rng.uniform(0.13, 0.2)
    nose, waist = rng.uniform(0.4, 0.5) * length, rng.uniform(-0.16, 0.02) * length
    t = np.linspace(-np.pi / 2, np.pi / 2, 11)
    front = np.stack([nose - 0.2 * length + 0.2 * length * np.cos(t), width / 2 * np.sin(t)], axis=1)
    side = np.array([[0.3 * (nose + waist), width / 2], [waist, 0.3 * width]])
    cabin = np.concatenate([front, side, mirrored(side)[::-1]])
    thick = rng.uniform(0.1, 0.22)  # of the boom, in widths of the cabin
    boom = np.array([[0.05 * length, rng.uniform(0.26, 0.4) * width], [-0.48 * length, thick * width / 2]])
    plane_x, span = -rng.uniform(0.28, 0.45) * length, rng.uniform(0.14, 0.38) * length
    parts = [
        Part(np.concatenate([boom, mirrored(boom)[::-1]]), paint.shaded(0.95), 0.2 * length, base=0.12 * length),
        Part(rectangle(plane_x, 0, rng.uniform(0.04, 0.08) * length, span), paint.shaded(rng.uniform(0.85, 1.05)),
             0.2 * length, base=0.19 * length),
        Part(cabin, paint, height, base=0.04 * length),
    ]  # fmt: skip
    if rng.random() < 0.5:  # a fin that leans, or a tail rotor's hub
        fin = rectangle(-0.46 * length, 0, 0.08 * length, rng.uniform(0.03, 0.09) * length)
        parts.append(Part(fin, paint.shaded(0.8), 0.27 * length, base=0.18 * length))
    if rng.random() < 0.35:  # stub wings or sponsons
        wing = rectangle(0.05 * length, 0, 0.08 * length, width * rng.uniform(1.3, 2.2))
        parts.insert(0, Part(wing, paint.shaded(0.85), 0.1 * length, base=0.06 * length))
    if rng.random() < 0.85:
        parts.append(Part(ellipse(nose - 0.1 * length, 0, 0.07 * length, 0.36 * width, 12), _GLASS, solid=False))
    for engine in (-1, 1) if rng.random() < 0.6 else (0,):
        cowling = rectangle(0.04 * length, engine * 0.2 * width, rng.uniform(0.15, 0.3) * length, 0.22 * width)
        parts.append(Part(cowling, paint.shaded(rng.uniform(0.6, 1.1)), solid=False))
    hub = ellipse(_ROTOR * length, 0, 0.03 * length, 0.03 * length, 10)
    return [*parts, Part(hub, Material((70, 70, 72), 3.0), 1.15 * height)]


def _blade(radius: float, chord: float, angle: float, material: Material, length: float) -> Part:
    """One blade of the main rotor of a helicopter of the given length."""
    c, s = np.cos(angle), np.sin(angle)
    outline = rectangle(radius / 2, 0, radius, chord) @ np.array([[c, s], [-s, c]]) + (_ROTOR * length, 0)
    return Part(outline, material, 0.31 * length, base=0.3 * length)


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
