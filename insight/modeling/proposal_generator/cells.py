"""Proposals of a tile, selected in cells that are fixed in its scene."""

from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import ImageList, Instances
from torch import Tensor

# Pixels. Tiles that begin and end at multiples of CELL and overlap by as much have cores of whole cells. What lies
# around a cell shares in its proposals, so that there is room for objects that crowd in it.
CELL, AROUND = 256, 64


def propose_in_cells(
    generator: RPN, images: ImageList, features: dict[str, Tensor], origin: tuple[int, int], usual_area: float
) -> list[Instances]:
    """Propose boxes in a tile of a scene, with limits on their number that hold in every cell of the scene.

    An RPN keeps the best proposals of an image, so that what it keeps at one place depends on what else a tile shows.
    Here each cell has limits of its own.

    Args:
        generator: Detectron2's RPN, in evaluation mode.
        images: the tile, as the only image.
        features: its feature maps.
        origin: (x, y) of the tile's corner in the scene, pixels.
        usual_area: area of the images that the limits of the generator are for, pixels.

    Returns:
        The proposals of the tile, cell by cell.
    """
    maps = [features[name] for name in generator.in_features]
    anchors = generator.anchor_generator(maps)
    scores, deltas = generator.rpn_head(maps)
    scores = [x.permute(0, 2, 3, 1).flatten(1) for x in scores]
    deltas = [
        x.unflatten(1, (-1, generator.anchor_generator.box_dim)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in deltas
    ]
    places = [level.get_centers() for level in anchors]
    found = []
    for cell, around in _cells(images.image_sizes[0], origin):
        chosen = [_inside(level, around) for level in places]
        x0, y0, x1, y1 = around
        with proposal_limits_times(generator, (x1 - x0) * (y1 - y0) / usual_area):
            (proposals,) = generator.predict_proposals(
                [level[rows] for level, rows in zip(anchors, chosen)],
                [level[:, rows] for level, rows in zip(scores, chosen)],
                [level[:, rows] for level, rows in zip(deltas, chosen)],
                images.image_sizes,
            )
        found.append(proposals[_inside(proposals.proposal_boxes.get_centers(), cell)])
    return [Instances.cat(found)]


@contextmanager
def proposal_limits_times(generator: RPN, factor: float) -> Iterator[None]:
    """Multiply the limits of an RPN on the number of its proposals within the block."""
    before = generator.pre_nms_topk, generator.post_nms_topk
    try:
        generator.pre_nms_topk, generator.post_nms_topk = (
            {training: round(limit * factor) for training, limit in limits.items()} for limits in before
        )
        yield
    finally:
        generator.pre_nms_topk, generator.post_nms_topk = before


def _cells(size: tuple[int, int], origin: tuple[int, int]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """XYXY of each cell and of what shares in its proposals, cut to the tile, pixels of the tile."""
    height, width = size
    columns, rows = (_along(length, place) for length, place in ((width, origin[0]), (height, origin[1])))
    for y0, y1 in rows:
        for x0, x1 in columns:
            low = max(x0 - AROUND, 0), max(y0 - AROUND, 0)
            yield (x0, y0, x1, y1), (*low, min(x1 + AROUND, width), min(y1 + AROUND, height))


def _along(length: int, origin: int) -> list[tuple[int, int]]:
    """Begin and end of the cells along an axis, in the scene at odd multiples of half a cell."""
    first = -((origin + CELL // 2) % CELL)
    return [(max(start, 0), min(start + CELL, length)) for start in range(first, length, CELL)]


def _inside(places: Tensor, window: tuple[int, ...]) -> Tensor:
    """(N,) bool, of places (N, 2): XY."""
    low, high = places.new_tensor(window[:2]), places.new_tensor(window[2:])
    return ((places >= low) & (places < high)).all(1)
