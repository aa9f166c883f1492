"""The drawing surface of a scene: lays ground, casts shadows, paints objects and keeps their exact visible masks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .parts import Material, Part
from .textures import Ground, colour_table, ground_texture
from .wear import wear

SUPERSAMPLE = 2  # sub-pixels a side: edges are anti-aliased and masks decided by majority
_FRACTION_BITS = 4  # of OpenCV's fixed-point coordinates
_RADAR_SHADOW = 0.12  # amplitude that is left in a radar shadow
_CORNER = 9.0  # decibel that a wall facing the radar adds


@dataclass(frozen=True)
class Placed:
    """An instance on the canvas.

    Args:
        category: its name.
        heading: in the image frame, radians from x to y.
        low, high: (2,) corners of the box around its outline, image pixels; it may leave the image.
    """

    category: str
    heading: float
    low: np.ndarray
    high: np.ndarray


def amplitude(decibel: float) -> float:
    """Radar amplitude of a backscatter in decibel."""
    return 10.0 ** (decibel / 20.0)


class Canvas:
    """Draws a layout given in metres into an image of one sensor.

    The layout frame is centred in the image, rotated by a random angle, with y downward; `reach` is the distance from
    the centre that a layout has to cover. What is placed is queued; `flush` casts the shadows of the whole queue on
    what was drawn before and then paints the queue in order, so tall things are flushed after low ones.

    Args:
        rng: source of all randomness.
        size: (height, width), pixels.
        look: "optical" or "sar".
        gsd: ground sampling distance, metres a pixel.
        off_nadir: angle between the optical line of sight and the vertical, degrees; tops of tall things are displaced
            and one side of their walls is seen. A SAR look has its own layover and ignores it.
        wear: source of the randomness of `wear`, which an optical look gives to every instance; None: nothing is worn.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        size: tuple[int, int],
        look: str,
        gsd: float,
        off_nadir: float = 0.0,
        wear: np.random.Generator | None = None,
    ) -> None:
        self.rng = rng
        self.size = size
        self.gsd = gsd
        self.is_sar = look == "sar"
        self._wear = None if self.is_sar else wear
        self.reach = math.hypot(*size) * gsd / 2
        self.turn = rng.uniform(0, 2 * math.pi)

        # Direction in which shadows fall, in the image frame, and their length per metre of height.
        away = rng.uniform(0, 2 * math.pi)
        self.away = np.array([math.cos(away), math.sin(away)])
        elevation = math.radians(rng.uniform(32, 65))
        self.shadow_length = 1.0 / math.tan(elevation)
        self.shadow_strength = rng.uniform(0.2, 0.62)

        # Displacement of a point one metre above the ground, image pixels.
        azimuth = rng.uniform(0, 2 * math.pi)
        tilt = 0.0 if self.is_sar else math.tan(math.radians(off_nadir)) / gsd
        self.lean = np.array([math.cos(azimuth), math.sin(azimuth)]) * tilt

        sub = (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)
        self.image = np.zeros(sub if self.is_sar else (*sub, 3), np.float32 if self.is_sar else np.uint8)
        self.ids = np.zeros(sub, np.int32)  # 0: none; i: instances[i - 1]
        self.instances: list[Placed] = []
        self._to_pixels = _rotation(self.turn) / gsd
        self._queue: list[tuple[np.ndarray, Sequence[Part], int]] = []

    # ------------------------------------------------------------------------------------------- ground and paint

    def lay(self, layers: Sequence[tuple[Sequence[np.ndarray] | None, Ground]]) -> None:
        """Cover the canvas with ground; each layer lies on those before it.

        Args:
            layers: (outlines in metres, or None for everywhere; ground).
        """
        height, width = self.size
        result = None
        for outlines, ground in layers:
            texture = ground_texture(self.rng, self.size, ground, self.gsd)
            if self.is_sar:
                layer = texture.astype(np.float32)
                layer *= amplitude(ground.radar) * 0.5 / 128
                layer += amplitude(ground.radar) * 0.5
            else:
                layer = cv2.applyColorMap(texture, colour_table(ground))
            if outlines is None:
                result = layer
                continue
            cover = np.zeros((height, width), np.uint8)
            points = [self._fixed(self.to_image(outline), scale=1) for outline in outlines]
            cv2.fillPoly(cover, points, 255, cv2.LINE_AA, _FRACTION_BITS)
            weight = cover.astype(np.float32) / 255
            result = cv2.blendLinear(layer, result, weight, 1 - weight)
        cv2.resize(result, (width * SUPERSAMPLE, height * SUPERSAMPLE), dst=self.image, interpolation=cv2.INTER_LINEAR)

    def paint(self, outlines: Sequence[np.ndarray], material: Material) -> None:
        """Paint convex outlines (metres) on the ground: markings, pads, roads."""
        colour = self._colour(material)
        for outline in outlines:
            cv2.fillConvexPoly(self.image, self._fixed(self.to_image(outline)), colour, cv2.LINE_8, _FRACTION_BITS)

    def lines(self, segments: np.ndarray, width: float, material: Material) -> None:
        """Paint straight lines.

        Args:
            segments: (N, 2, 2) start and end points, metres.
            width: metres; never thinner than one sub-pixel.
            material: the paint.
        """
        along = segments[:, 1] - segments[:, 0]
        along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        side = np.stack([-along[:, 1], along[:, 0]], axis=1) * max(width, self.gsd / SUPERSAMPLE) / 2
        start, end = segments[:, 0], segments[:, 1]
        self.paint(np.stack([start - side, end - side, end + side, start + side], axis=1), material)

    def stain(self, outlines: Sequence[np.ndarray], material: Material, alpha: float, softness: float = 0.0) -> None:
        """Blend convex outlines into what is drawn: wakes, oil, tyre marks.

        Args:
            outlines: in metres.
            material: what is blended in.
            alpha: its share, 0 to 1.
            softness: standard deviation of the blur of the borders, metres.
        """
        mask = np.zeros(self.ids.shape, np.uint8)
        for outline in outlines:
            cv2.fillConvexPoly(mask, self._fixed(self.to_image(outline)), 255, cv2.LINE_8, _FRACTION_BITS)
        margin = 3 * softness / self.gsd * SUPERSAMPLE
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0 or h == 0:
            return
        x0, y0 = max(0, int(x - margin)), max(0, int(y - margin))
        window = np.s_[y0 : int(y + h + margin), x0 : int(x + w + margin)]
        mask = mask[window]
        if softness > 0:
            mask = cv2.GaussianBlur(mask, (0, 0), softness / self.gsd * SUPERSAMPLE)
        weight = mask.astype(np.float32) * (alpha / 255)
        below = np.ascontiguousarray(self.image[window])
        above = np.full_like(below, self._colour(material))
        self.image[window] = cv2.blendLinear(above, below, weight, 1 - weight)

    # ---------------------------------------------------------------------------------------------------- objects

    def place(self, parts: Sequence[Part], x: float, y: float, heading: float, category: str | None = None) -> None:
        """Queue an object.

        Args:
            parts: from the lowest to the highest.
            x, y: where the origin of the parts lies, metres in the layout frame.
            heading: direction of the parts' x axis in the layout frame, radians from x to y.
            category: of the instance; None for surroundings, which hide what lies below them and are no instance.
        """
        points = np.concatenate([part.outline for part in parts])
        points = points @ (_rotation(heading + self.turn) / self.gsd) + self.to_image(np.array([x, y]))
        top = max(part.height for part in parts) * self.lean
        low = np.minimum(points.min(axis=0), (points + top).min(axis=0))
        high = np.maximum(points.max(axis=0), (points + top).max(axis=0))
        if not self._visible(low, high):
            return
        number = 0
        if category is not None:
            self.instances.append(Placed(category, heading + self.turn, low, high))
            number = len(self.instances)
        self._queue.append((points, parts, number))

    def flush(self) -> None:
        """Cast the shadows of the queued objects, then paint the objects."""
        self._cast_shadows()
        for points, parts, number in self._queue:
            level = 0.0  # of what paint and windows lie on
            for part, outline in zip(parts, _split(points, parts)):
                level = part.height or level
                drawn = self._fixed(outline + level * self.lean)
                if part.height > 0 and self.lean.any():
                    foot = self._fixed(outline + part.base * self.lean)
                    self._fill(cv2.convexHull(np.concatenate([foot, drawn])), part, number, part.material.shaded(0.72))
                self._fill(drawn, part, number, part.material)
                if self.is_sar and part.solid and part.height > 0:
                    self._scatter(outline, drawn, part)
            if self._wear is not None and number:
                placed = self.instances[number - 1]
                left, top = np.maximum(placed.low * SUPERSAMPLE, 0).astype(int)
                right, bottom = np.maximum(placed.high * SUPERSAMPLE + 2, 0).astype(int)
                window = np.s_[top:bottom, left:right]
                wear(self._wear, self.image[window], self.ids[window] == number)
        self._queue.clear()

    def _fill(self, drawn: np.ndarray, part: Part, number: int, material: Material) -> None:
        cv2.fillConvexPoly(self.image, drawn, self._colour(material), cv2.LINE_8, _FRACTION_BITS)
        if part.solid:
            cv2.fillConvexPoly(self.ids, drawn, number, cv2.LINE_8, _FRACTION_BITS)

    def _cast_shadows(self) -> None:
        mask = np.zeros(self.ids.shape, np.uint8)
        per_metre = self.away * self.shadow_length / self.gsd
        for points, parts, _ in self._queue:
            for part, outline in zip(parts, _split(points, parts)):
                if part.height > 0:
                    ends = np.concatenate([outline + part.base * per_metre, outline + part.height * per_metre])
                    swept = cv2.convexHull(self._fixed(ends))
                    cv2.fillConvexPoly(mask, swept, 255, cv2.LINE_8, _FRACTION_BITS)
        if self.is_sar:
            self.image[mask > 0] *= _RADAR_SHADOW
            return
        # A shadow is lit by the sky alone: darker, and bluer than the sunlit ground.
        tint = self.shadow_strength * np.array([0.94, 1.0, 1.1])
        table = np.clip(np.arange(256)[:, None] * tint, 0, 255).round().astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        window = np.s_[y : y + h, x : x + w]
        if w and h:
            cv2.copyTo(cv2.LUT(self.image[window], table[:, None, :]), mask[window], self.image[window])

    def _scatter(self, outline: np.ndarray, fixed: np.ndarray, part: Part) -> None:
        """Radar returns of a solid: dull roofs, a bright line along walls that face the radar, point scatterers."""
        roof = amplitude(part.material.radar - 4.0)
        cv2.fillConvexPoly(self.image, fixed, roof, cv2.LINE_8, _FRACTION_BITS)
        edges = np.roll(outline, -1, axis=0) - outline
        centre = outline.mean(axis=0)
        normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1)
        normals *= np.sign(((outline - centre) * normals).sum(axis=1, keepdims=True))
        facing = normals @ self.away < -0.5 * np.linalg.norm(normals, axis=1)
        bright = amplitude(part.material.radar + _CORNER)
        following = np.roll(fixed, -1, axis=0)
        for i in np.flatnonzero(facing):
            cv2.line(self.image, fixed[i].tolist(), following[i].tolist(), bright, 1, cv2.LINE_8, _FRACTION_BITS)
        low, high = outline.min(axis=0), outline.max(axis=0)
        count = int(min(30, np.prod(high - low) / 30))
        weights = self.rng.dirichlet(np.ones(len(outline)), size=count)
        for point in weights @ outline:
            x, y = (point * SUPERSAMPLE).astype(int)
            if 0 <= y < self.image.shape[0] and 0 <= x < self.image.shape[1]:
                self.image[y : y + 2, x : x + 2] = bright * self.rng.uniform(0.5, 2.0)

    # --------------------------------------------------------------------------------------------------- geometry

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Layout metres -> image pixels: (..., 2), x right, y down, pixel centres at half-integers."""
        return points @ self._to_pixels + (self.size[1] / 2, self.size[0] / 2)

    def in_view(self, x: float, y: float, radius: float) -> bool:
        """Whether something within `radius` metres of a place in the layout frame may touch the image."""
        at, reach = self.to_image(np.array([x, y])), radius / self.gsd
        return self._visible(at - reach, at + reach)

    def covered(self, x: float, y: float, margin: float) -> bool:
        """Whether an instance that was placed lies within `margin` metres of a place in the layout frame."""
        at, reach = self.to_image(np.array([x, y])), margin / self.gsd
        return any((at > i.low - reach).all() and (at < i.high + reach).all() for i in self.instances)

    def shadow_per_metre(self) -> np.ndarray:
        """(2,) where the shadow of a point one metre high falls, layout metres."""
        return self.away @ _rotation(-self.turn) * self.shadow_length

    def lean_per_metre(self) -> np.ndarray:
        """(2,) how far an oblique view displaces a point one metre above the ground, layout metres."""
        return self.lean * self.gsd @ _rotation(-self.turn)

    def _visible(self, low: np.ndarray, high: np.ndarray) -> bool:
        return bool(high[0] > 0 and high[1] > 0 and low[0] < self.size[1] and low[1] < self.size[0])

    @staticmethod
    def _fixed(points: np.ndarray, scale: int = SUPERSAMPLE) -> np.ndarray:
        """Image pixels -> OpenCV's fixed-point sub-pixels, whose centres are the integers."""
        return np.rint((points * scale - 0.5) * (1 << _FRACTION_BITS)).astype(np.int32)

    def _colour(self, material: Material) -> float | tuple[int, int, int]:
        return amplitude(material.radar) if self.is_sar else material.rgb


def _rotation(angle: float) -> np.ndarray:
    """The matrix that turns row vectors by an angle from x to y."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, s], [-s, c]])


def _split(points: np.ndarray, parts: Sequence[Part]) -> Iterator[np.ndarray]:
    """The points of each part out of those of all parts."""
    start = 0
    for part in parts:
        end = start + len(part.outline)
        yield points[start:end]
        start = end
