"""A detector whose answers depend on pixels alone, drawn rasters for it, and what it must find in them."""

import cv2
import numpy as np
import torch

from insight.inference.prediction import Prediction
from insight.structures.rle import RLEMasks, encode_crop


class BrightDetector:
    """Finds the connected parts (by edges of pixels) of every colour of COLOURS, exactly."""

    class_names = ("dim", "bright")
    COLOURS = (100, 200)

    def __init__(self):
        self._tiles = 0

    def set_image(self, image):
        self._image = image[..., 0]
        self._tiles += 1

    def detect(self):
        size = self._image.shape
        boxes, codes, classes = [], [], []
        for class_id, colour in enumerate(self.COLOURS):
            for (x0, y0, x1, y1), mask in components(self._image == colour):
                boxes.append([x0, y0, x1, y1])
                codes.append(encode_crop(mask, (x0, y0), size))
                classes.append(class_id)
        return Prediction(
            size,
            boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            scores=torch.full((len(boxes),), 0.75),
            masks=RLEMasks(codes, size),
            class_ids=torch.tensor(classes, dtype=torch.int64),
            categories=self.class_names,
        )


def components(mask):
    """The connected parts of a mask: (x0, y0, x1, y1) and (h, w) bool each."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    for number in range(1, count):
        x, y, width, height = stats[number, :4].tolist()
        yield (x, y, x + width, y + height), labels[y : y + height, x : x + width] == number


def drawn(size, seed, count=120, largest=400):
    """(H, W) uint8: small blobs, long bars and winding lines of the two colours, over each other."""
    rng = np.random.default_rng(seed)
    height, width = size
    image = np.zeros(size, np.uint8)
    for _ in range(count):
        colour = int(rng.choice(BrightDetector.COLOURS))
        centre = int(rng.integers(width)), int(rng.integers(height))
        kind = rng.random()
        if kind < 0.6:
            axes = tuple(int(a) for a in rng.integers(2, 20, 2))
            cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
        elif kind < 0.85:
            length, angle = rng.uniform(20, largest), rng.uniform(0, np.pi)
            end = int(centre[0] + length * np.cos(angle)), int(centre[1] + length * np.sin(angle))
            cv2.line(image, centre, end, colour, int(rng.integers(1, 12)))
        else:
            points = np.cumsum(rng.integers(-80, 81, (6, 2)), 0) + centre
            cv2.polylines(image, [points.astype(np.int32)], bool(rng.random() < 0.5), colour, int(rng.integers(2, 8)))
    return image
