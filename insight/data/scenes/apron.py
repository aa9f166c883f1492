"""Airport aprons: airplanes at gates and on stands, with the vehicles that serve them."""

from __future__ import annotations

import numpy as np

from .aircraft import airplane, helicopter
from .canvas import Canvas
from .parts import Material, Part, ellipse, rectangle
from .surroundings import building, lamp, tree
from .textures import ASPHALT, CONCRETE, GRASS
from .vehicles import car, container, truck

GSD = (0.28, 1.50)  # metres a pixel

_YELLOW = Material((206, 176, 60), -16.0)
_WHITE = Material((222, 222, 218), -15.0)


def draw(canvas: Canvas) -> None:
    """Draw an apron; the terminal runs along x at positive y, the taxiway along negative y."""
    rng, reach = canvas.rng, canvas.reach
    front = rng.uniform(0.25, 0.7) * reach  # of the terminal
    taxiway = front - rng.uniform(70, 100)
    concrete = CONCRETE[rng.integers(3)]
    canvas.lay([
        (None, GRASS[rng.integers(3)]),
        ([rectangle(0, (taxiway - 18 + reach * 1.2) / 2, 2.4 * reach, reach * 1.2 - taxiway + 18)], concrete),
        ([rectangle(0, taxiway - 60, 2.4 * reach, 45)], ASPHALT[rng.integers(3)]),
    ])  # fmt: skip
    _markings(canvas, front, taxiway)
    # Carts are too small to be instances and lie among the vehicles that are.
    small = rng.random() < 0.3
    rotors = rng.choice((0.1, 0.8))  # share of helicopters on small stands
    x = -reach + rng.uniform(0, 15)
    bridges: list[float] = []
    while x < reach:
        length = rng.uniform(9, 22) if small else rng.uniform(26, 62)
        pitch = length * 1.02 + rng.uniform(3, 12)
        stand = x + pitch / 2
        nose = front - rng.uniform(5, 9)
        lead_in = np.array([[[stand, nose - 2], [stand, taxiway]]])
        canvas.lines(lead_in, 0.35, _YELLOW)
        canvas.stain([rectangle(stand, nose - 0.6 * length, 3, 0.5 * length)], Material((58, 56, 54), -20.0), 0.3, 1.2)
        if rng.random() < 0.75:
            heading = np.pi / 2 + rng.normal(0, 0.02)
            if small and rng.random() < rotors:
                canvas.place(helicopter(rng, 0.8 * length), stand, nose - length / 2, heading, "helicopter")
            else:
                canvas.place(airplane(rng, length), stand, nose - length / 2, heading, "airplane")
            if not small and rng.random() < 0.7:
                bridges.append(stand)
        _servicing(canvas, stand, nose, length, pitch)
        x += pitch
    for _ in range(rng.integers(0, 3)):
        length = rng.uniform(24, 46)
        heading = rng.choice((0.0, np.pi)) + rng.normal(0, 0.03)
        where = (taxiway, taxiway - 60)[rng.integers(2)]
        canvas.place(airplane(rng, length), rng.uniform(-0.9, 0.9) * reach, where, heading, "airplane")
        if not small:
            break
    _helipads(canvas, taxiway - 105)
    canvas.flush()
    _terminal(canvas, front, bridges)


def _markings(canvas: Canvas, front: float, taxiway: float) -> None:
    rng, reach = canvas.rng, canvas.reach
    slab = rng.uniform(5, 8)
    ends = 1.2 * reach
    xs, ys = np.arange(-ends, ends, slab), np.arange(taxiway - 18, ends, slab)
    joints = [np.stack([np.stack([xs, 0 * xs + taxiway - 18], 1), np.stack([xs, 0 * xs + ends], 1)], 1)]
    joints.append(np.stack([np.stack([0 * ys - ends, ys], 1), np.stack([0 * ys + ends, ys], 1)], 1))
    ground = Material((128, 126, 120), -19.0).shaded(rng.uniform(0.9, 1.1))
    canvas.lines(np.concatenate(joints), 0.12, ground)
    canvas.lines(np.array([[[-ends, taxiway], [ends, taxiway]]]), 0.4, _YELLOW)
    canvas.lines(np.array([[[-ends, front - 3], [ends, front - 3]]]), 0.3, _WHITE)
    centre = np.arange(-ends, ends, 50.0)
    runway = taxiway - 60
    canvas.lines(np.stack([np.stack([centre, 0 * centre + runway], 1), np.stack([centre + 28, 0 * centre + runway], 1)],
                          1), 0.9, _WHITE)  # fmt: skip


def _helipads(canvas: Canvas, y: float) -> None:
    """A row of round pads beyond the taxiways, some with a helicopter."""
    rng, reach = canvas.rng, canvas.reach
    if rng.random() < 0.4:
        return
    pad = Material((136, 134, 128), -17.0).shaded(rng.uniform(0.8, 1.2))
    radius = rng.uniform(9, 14)
    canvas.paint([rectangle(0, y, 2.4 * reach, 2.6 * radius)], pad.shaded(rng.uniform(0.75, 1.0)))
    common = rng.uniform(0, 2 * np.pi)
    for x in np.arange(-reach + rng.uniform(0, 20), reach, 2.3 * radius + rng.uniform(0, 12)):
        canvas.paint([ellipse(x, y, radius, radius)], pad)
        canvas.paint([ellipse(x, y, 0.55 * radius, 0.55 * radius)], pad.shaded(1.12))
        if rng.random() < 0.7:
            heading = common + rng.normal(0, 0.15)
            canvas.place(helicopter(rng, rng.uniform(0.95, 1.5) * radius), x, y, heading, "helicopter")


def _servicing(canvas: Canvas, stand: float, nose: float, length: float, pitch: float) -> None:
    """Vehicles, carts and containers around a stand; they keep clear of the airplane."""
    rng = canvas.rng
    edge = pitch / 2 - 1.5
    for _ in range(rng.poisson(2.2)):
        x = stand + rng.choice((-1, 1)) * edge + rng.normal(0, 0.3)
        y = nose - rng.uniform(-0.02, 0.28) * length
        if canvas.covered(x, y, 5):
            continue
        draw = rng.random()
        heading = np.pi / 2 + rng.normal(0, 0.1)
        if draw < 0.4:
            canvas.place(car(rng), x, y, heading, "vehicle")
        elif draw < 0.62:
            canvas.place(truck(rng), x, y, heading, "vehicle")
        elif draw < 0.8:
            canvas.place(container(rng), x, y, heading)
        else:
            for step in range(rng.integers(2, 6)):
                canvas.place(_cart(rng), x, y - 2.6 * step, heading)


def _cart(rng: np.random.Generator) -> list[Part]:
    """A baggage cart: a third of a car."""
    paint = Material(((90, 96, 104), (150, 140, 120), (206, 206, 200))[rng.integers(3)], 0.0)
    return [Part(rectangle(0, 0, 1.9, 1.2), paint, 1.2)]


def _terminal(canvas: Canvas, front: float, bridges: list[float]) -> None:
    rng, reach = canvas.rng, canvas.reach
    pale = Material((208, 208, 204), -2.0)
    for stand in bridges:
        bridge = rectangle(4.5, -4, 3.0, 14)
        cabin = rectangle(2.5, -11, 5.0, 3.2)
        canvas.place([Part(bridge, pale, 5.0), Part(cabin, pale.shaded(0.85), 5.0)], stand, front, 0.0)
    for x in np.arange(-reach, reach, 6.5):
        if rng.random() < 0.15:
            canvas.place(car(rng), x, front + 3.5, rng.choice((0.0, np.pi)), "vehicle")
    canvas.flush()
    x = -1.2 * reach
    while x < reach:
        length = rng.uniform(50, 120)
        canvas.place(building(rng, length, rng.uniform(20, 34)), x + length / 2, front + 25, 0.0)
        x += length + rng.uniform(6, 30)
    for _ in range(rng.integers(2, 6)):
        canvas.place(lamp(rng), rng.uniform(-1, 1) * reach, front + 6.5, 0.0)
    for _ in range(rng.integers(0, 25)):
        x, y = rng.uniform(-1, 1) * reach, front + 45 + rng.uniform(0, 1) * reach
        canvas.place(tree(rng, rng.uniform(1.5, 4)), x, y, 0.0)
    canvas.flush()
