"""Windows of an image as the context of boxes; those of a tile are fixed in its scene."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

WINDOW = 512  # pixels: 16 x 16 patches of 32, which no recipe shrinks


class ContextWindows:
    """The windows of an image, each the context of the boxes around its middle.

    A whole image is one window. In a scene, windows begin every side / 2 pixels along each axis, and a box belongs to
    the one whose centre is nearest to its own. A tile has those of which more than half lies in it along each axis,
    cut to the tile; where there is none, the tile is the window.

    So a box has the same window in all tiles that begin and end at multiples of side / 2 or at the border of the
    scene, if its centre is at least side / 4 away from the other edges of the tile.

    Args:
        size: (height, width) of the image, pixels.
        side: of a window, pixels; a multiple of 4.
        origin: (x, y) of a tile's corner in its scene, pixels; None for a whole image.
    """

    def __init__(self, size: tuple[int, int], side: int, origin: tuple[int, int] | None = None):
        self.size = self._height, self._width = size
        x, y = (None, None) if origin is None else origin
        self._columns, self._rows = _Axis(self._width, side, x), _Axis(self._height, side, y)

    def __len__(self) -> int:
        return len(self._rows.spans) * len(self._columns.spans)

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        """XYXY of each window, row by row, pixels."""
        return ((x0, y0, x1, y1) for y0, y1 in self._rows.spans for x0, x1 in self._columns.spans)

    def cut(self, feature: Tensor, stride: float, size: tuple[int, int]) -> Iterator[Tensor]:
        """Cut a feature map of the image into those of its windows.

        Args:
            feature: (D, h, w), of the padded image.
            stride: of the map, pixels of the network's input.
            size: (height, width) of the network's input without padding, pixels.

        Yields:
            (D, h_i, w_i) of each window, row by row.
        """
        (height, width), (rows, columns) = size, (side * stride for side in self.size)
        for x0, y0, x1, y1 in self:
            top, bottom = int(y0 * height / rows), math.ceil(y1 * height / rows)
            yield feature[:, top:bottom, int(x0 * width / columns) : math.ceil(x1 * width / columns)]

    def locate(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Find the window of each box.

        Args:
            boxes: (N, 4) float XYXY, fractions of the image.

        Returns:
            (N,) int64, the window's index, and (N, 4), the boxes as fractions of their windows.
        """
        if len(self) == 1:  # it is the image
            return torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device), boxes
        size = boxes.new_tensor([self._width, self._height])
        x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2 * size).T.contiguous()
        index = self._rows.locate(y) * len(self._columns.spans) + self._columns.locate(x)
        windows = (boxes.new_tensor(list(self)) / size.repeat(2))[index]
        corner, extent = windows[:, :2], windows[:, 2:] - windows[:, :2]
        return index, (boxes - corner.repeat(1, 2)) / extent.repeat(1, 2)


def locate_in_windows(windows: Sequence[ContextWindows], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Find the windows of the boxes of several images.

    Args:
        windows: per image, its windows.
        boxes: per image (N_i, 4) float XYXY, fractions of the image.

    Returns:
        (N,) int64, N = sum of N_i, indices into the windows of the first image, of the second, and so on; and (N, 4),
        the boxes as fractions of their windows.
    """
    indices, relative, before = [], [], 0
    for own, image_boxes in zip(windows, boxes, strict=True):
        index, in_windows = own.locate(image_boxes)
        indices.append(index + before)
        relative.append(in_windows)
        before += len(own)
    return torch.cat(indices), torch.cat(relative)


class _Axis:
    """Windows along one axis of an image.

    Attributes:
        spans: begin and end of each, pixels.
    """

    def __init__(self, length: int, side: int, origin: int | None):
        step = side // 2
        starts = range(0) if origin is None else range(-(origin % step), length - step, step)
        self.spans = [(max(start, 0), min(start + side, length)) for start in starts] or [(0, length)]
        self._borders = [start + step // 2 for start in starts[1:]]  # from which on a place belongs to the next window

    def locate(self, places: Tensor) -> Tensor:
        """(N,) int64, the windows of places (N,), pixels."""
        return torch.bucketize(places, places.new_tensor(self._borders), right=True)
