"""From the drawn canvas to the image that a sensor delivers."""

from __future__ import annotations

import cv2
import numpy as np

from .textures import smooth_noise


def optical(rng: np.random.Generator, drawn: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resolution, illumination, haze, contrast, sensor noise and compression.

    Args:
        rng: source of randomness.
        drawn: (sH, sW, 3) uint8 supersampled RGB.
        size: (H, W) of the result.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = size
    image = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)
    image = _resolution(rng, image)

    # Contrast, exposure, colour cast and haze are one curve a channel.
    gain = (rng.uniform(0.72, 1.22) if rng.random() < 0.8 else rng.uniform(0.3, 0.72)) * rng.uniform(0.95, 1.05, 3)
    gamma = rng.uniform(0.8, 1.25)
    haze = rng.uniform(0.0, 0.22) * np.array([0.94, 0.98, 1.0]) * 200
    curve = np.clip((np.arange(256)[:, None] / 255) ** gamma * gain * 255, 0, 255)
    curve = curve * (1 - haze / 255) + haze
    image = cv2.LUT(image, np.clip(curve, 0, 255).round().astype(np.uint8)[:, None, :])

    if rng.random() < 0.15:  # panchromatic
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)

    noise = rng.uniform(1.0, 6.0) * rng.standard_normal(size, dtype=np.float32)
    light = 1 + rng.uniform(0.0, 0.10) * smooth_noise(rng, size, max(size) / 3)
    result = image.astype(np.float32)
    result *= light[:, :, None]
    result += noise[:, :, None]
    result = np.clip(result, 0, 255, out=result).astype(np.uint8)
    if rng.random() < 0.5:
        result = _compressed(result, int(rng.integers(35, 96)))
    return result


def _resolution(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """What the optics resolve: blur, pixels finer than the resolution, and the sharpening that providers apply."""
    height, width = image.shape[:2]
    if rng.random() < 0.45:  # delivered at a finer pixel size than was recorded
        factor = rng.uniform(0.35, 0.95)
        small = (max(8, round(width * factor)), max(8, round(height * factor)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    blur = rng.uniform(0.0, 0.85) if rng.random() < 0.75 else rng.uniform(0.85, 2.2)
    if blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if rng.random() < 0.3:
        strength = rng.uniform(0.3, 1.0)
        image = cv2.addWeighted(image, 1 + strength, cv2.GaussianBlur(image, (0, 0), 1.2), -strength, 0)
    return image


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after JPEG compression."""
    _, code = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(code, cv2.IMREAD_COLOR)[:, :, ::-1]


def sar(rng: np.random.Generator, drawn: np.ndarray, size: tuple[int, int], away: np.ndarray) -> np.ndarray:
    """Layover, side lobes, speckle and the logarithmic-like stretch of a delivered radar amplitude image.

    Args:
        rng: source of randomness.
        drawn: (sH, sW) float32 supersampled amplitude.
        size: (H, W) of the result.
        away: (2,) unit vector that points away from the radar, image frame.

    Returns:
        (H, W, 3) uint8, three equal channels.
    """
    height, width = size
    field = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)
    field = cv2.GaussianBlur(field, (0, 0), rng.uniform(0.5, 1.0))  # point spread
    bright = np.maximum(field - 0.8, 0)
    field += 0.35 * cv2.filter2D(bright, -1, _towards_radar(away, length=7), borderType=cv2.BORDER_CONSTANT)
    lobes = np.exp(-np.abs(np.arange(-12, 13)) / 4.0).astype(np.float32)
    lobes[12] = 0
    peaks = np.maximum(field - 2.2, 0)
    field += 0.10 * cv2.filter2D(peaks, -1, lobes[None, :], borderType=cv2.BORDER_CONSTANT)
    field += 0.10 * cv2.filter2D(peaks, -1, lobes[:, None], borderType=cv2.BORDER_CONSTANT)

    looks = rng.uniform(1.5, 6.0)
    speckle = rng.standard_gamma(looks, size, dtype=np.float32)
    speckle *= 1 / looks
    # Neighbouring pixels share a resolution cell, so speckle is a little correlated.
    speckle = np.sqrt(cv2.GaussianBlur(speckle, (0, 0), rng.uniform(0.45, 0.75)))
    field *= speckle
    field += 0.015 * speckle  # thermal noise floor
    grey = 255 * (field / rng.uniform(1.3, 2.2)) ** rng.uniform(0.55, 0.8)
    return cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def _towards_radar(away: np.ndarray, length: int) -> np.ndarray:
    """A decaying line: filter2D with it smears every pixel towards the radar."""
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    for step in range(1, length + 1):
        # filter2D correlates: a pixel gathers from where its kernel is set, so the line points away from the radar.
        x, y = np.rint(away * step).astype(int) + length
        kernel[y, x] = np.exp(-step / 3.0)
    return kernel
