"""Textured ground: water, grass, asphalt, concrete, soil."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Ground:
    """A kind of ground.

    Args:
        rgb_low, rgb_high: the two colours between which its texture moves.
        radar: mean backscatter, decibel.
        scale: size of its largest patches, metres.
        fine: share of pixel-sized grain in the texture, 0 to 1.
        stretch: how many times longer than wide the patches are (waves).
    """

    rgb_low: tuple[int, int, int]
    rgb_high: tuple[int, int, int]
    radar: float
    scale: float
    fine: float = 0.4
    stretch: float = 1.0


WATER = (
    Ground((22, 48, 62), (46, 78, 90), -27.0, 9.0, 0.30, 4.0),
    Ground((38, 66, 60), (66, 94, 82), -25.0, 6.0, 0.35, 3.0),
    Ground((14, 34, 58), (34, 62, 92), -28.0, 14.0, 0.25, 5.0),
    Ground((70, 88, 78), (98, 112, 96), -26.0, 20.0, 0.20, 2.0),
)
GRASS = (
    Ground((62, 82, 44), (106, 122, 66), -11.0, 10.0, 0.45),
    Ground((96, 98, 58), (146, 138, 88), -12.0, 14.0, 0.45),
    Ground((44, 66, 38), (78, 98, 54), -10.0, 7.0, 0.50),
)
ASPHALT = (
    Ground((84, 84, 86), (112, 112, 112), -19.0, 16.0, 0.40),
    Ground((58, 58, 62), (84, 84, 88), -20.0, 22.0, 0.35),
    Ground((116, 112, 106), (142, 138, 130), -18.0, 12.0, 0.35),
)
CONCRETE = (
    Ground((152, 148, 138), (182, 178, 166), -17.0, 18.0, 0.30),
    Ground((128, 128, 124), (158, 156, 150), -18.0, 24.0, 0.30),
    Ground((172, 164, 148), (202, 196, 180), -16.0, 15.0, 0.35),
)
SOIL = (
    Ground((134, 112, 84), (170, 148, 116), -13.0, 12.0, 0.45),
    Ground((112, 98, 78), (150, 134, 110), -12.0, 9.0, 0.50),
    Ground((158, 142, 118), (190, 176, 152), -14.0, 16.0, 0.40),
)


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], scale: float, stretch: float = 1.0) -> np.ndarray:
    """Noise of unit variance whose patches are about `scale` pixels wide and `stretch` times as long.

    Returns:
        (H, W) float32.
    """
    rows, cols = (max(2, round(size[0] / scale)), max(2, round(size[1] / (scale * stretch))))
    coarse = rng.standard_normal((rows + 2, cols + 2), dtype=np.float32)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def ground_texture(rng: np.random.Generator, size: tuple[int, int], ground: Ground, gsd: float) -> np.ndarray:
    """The texture of a ground as an index between its two colours.

    Args:
        rng: source of randomness.
        size: (H, W), pixels.
        ground: the kind of ground.
        gsd: metres a pixel.

    Returns:
        (H, W) uint8.
    """
    scale = max(3.0, ground.scale / gsd)
    texture = 0.6 * smooth_noise(rng, size, scale, ground.stretch)
    texture += 0.4 * smooth_noise(rng, size, max(2.0, scale / 4), ground.stretch)
    texture *= 1.0 - ground.fine
    texture += ground.fine * smooth_noise(rng, size, 1.3, min(2.0, ground.stretch))
    return cv2.convertScaleAbs(np.clip(texture, -2.0, 2.0) + 2.0, alpha=255 / 4)


def colour_table(ground: Ground) -> np.ndarray:
    """(256, 1, 3) uint8: the colour of each texture index."""
    t = np.linspace(0.0, 1.0, 256)[:, None]
    table = np.array(ground.rgb_low) * (1 - t) + np.array(ground.rgb_high) * t
    return table.round().astype(np.uint8)[:, None, :]
