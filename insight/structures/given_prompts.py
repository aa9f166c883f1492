"""Prompts as people give them: checked, and brought to the form that models take."""

from .boxes import validate_boxes
from .oriented_boxes import oriented_corners
from .points import validate_points
from .prompts import Prompts, oriented_prompts


def given_prompts(
    image_size: tuple[int, int], boxes=None, oriented_boxes=None, points=None, labels=None
) -> list[Prompts]:
    """Check what prompts a person gave for an image.

    Args:
        image_size: (height, width) of the image, pixels.
        boxes: (N, 4) as `validate_boxes` takes them, or None.
        oriented_boxes: (M, ...) in any form that `oriented_corners` takes, or None.
        points: (N, P, 2) as `validate_points` takes them, alone or those of `boxes`, or None.
        labels: (N, P) of `points`.

    Returns:
        Groups of one form each: boxes and points first, then oriented boxes; none if nothing was given.

    Raises:
        ValueError: a prompt that is not finite, without area or wholly outside the image, a wrong shape, or parts that
            do not go together; one line that names the argument.
    """
    if points is None and labels is not None:
        raise ValueError("labels: given without the points that they are of")
    if points is not None and oriented_boxes is not None:
        raise ValueError("points: expected alone or with boxes, got them with oriented_boxes, which bring their own")
    groups = []
    if points is not None:
        points, labels = validate_points(points, labels, image_size)
    if boxes is not None:
        boxes = validate_boxes(boxes, image_size)
        if points is not None and len(points) != len(boxes):
            raise ValueError(f"points: expected those of {len(boxes)} objects, as there are boxes, got {len(points)}")
    if boxes is not None or points is not None:
        groups.append(Prompts(boxes, points, labels))
    if oriented_boxes is not None:
        groups.append(oriented_prompts(oriented_corners(oriented_boxes)))
        validate_boxes(groups[-1].boxes, image_size, name="oriented_boxes")
    return groups
