"""The remote protocol of X-AnyLabeling: marks in, shapes out.

Source: the API reference of X-AnyLabeling-Server (docs/router.md), and what X-AnyLabeling's client sends
(anylabeling/services/auto_labeling/remote_server.py).
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from insight.hub import ModelFolder
from insight.structures.rle import rle_box

from .outlines import mask_outline
from .segmenter import Prompt

_LABEL = "AUTOLABEL_OBJECT"  # which the client replaces by what the user types
_FINISH = ("button_clear", "button_finish_object", "toggle_preserve_existing_annotations")
_PROMPTED = ("button_add_point", "button_remove_point", "button_add_rect", *_FINISH)
_SLIDER = "mask_fineness_slider"


class Mark(BaseModel):
    """A point or rectangle that a user drew, in pixels."""

    type: str  # "point" or "rectangle"; others are ignored
    data: list[FiniteFloat]
    label: int = 1


class Params(BaseModel):
    """What a user set; other settings are those of other models."""

    model_config = ConfigDict(extra="allow")

    marks: list[Mark] = Field(default=[], max_length=1000)
    conf_threshold: FiniteFloat = 0.0
    epsilon_factor: FiniteFloat = Field(default=0.001, ge=0, le=1)


class XAnyLabelingRequest(BaseModel):
    """A request of X-AnyLabeling."""

    model: str
    image: str
    params: Params = Field(default_factory=Params)


def model_info(folder: ModelFolder) -> dict[str, Any]:
    """Describe a model: its name and the buttons that the client shows for it."""
    prompted = folder.kind == "sopseg"
    names = _PROMPTED if prompted else ("button_run", "input_conf", "edit_conf", _FINISH[-1])
    values = {"edit_conf": folder.score_threshold, _FINISH[-1]: False, _SLIDER: 10}
    return {
        "display_name": f"insight {folder.name}",
        "widgets": [
            {"name": name, "value": values.get(name)} for name in (*names, _SLIDER, "mask_fineness_value_label")
        ],
        "params": {},
        "batch_processing_mode": None if prompted else "default",
    }


def to_prompts(marks: list[Mark]) -> list[Prompt]:
    """Turn marks into prompts: an object for each rectangle, or one for points alone.

    Points belong to the rectangle that they are drawn with; with several rectangles, to each that contains them.
    """
    points = [(mark.data, int(mark.label > 0)) for mark in marks if mark.type == "point" and len(mark.data) == 2]
    boxes = [mark.data for mark in marks if mark.type == "rectangle" and len(mark.data) == 4]
    if not boxes:
        return [Prompt(points=[p for p, _ in points], labels=[label for _, label in points])] if points else []
    prompts = []
    for x1, y1, x2, y2 in boxes:
        box = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        mine = [
            (point, label)
            for point, label in points
            if len(boxes) == 1 or (box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3])
        ]
        prompts.append(Prompt(box=box, points=[p for p, _ in mine], labels=[label for _, label in mine]))
    return prompts


def to_shapes(code: dict[str, Any], score: float, label: str | None, epsilon_factor: float) -> list[dict[str, Any]]:
    """Turn a mask into polygons, one for each of its parts; the client's polygons have no holes.

    Args:
        code: COCO's compressed RLE.
        score: of the mask.
        label: its class; None for what the user types.
        epsilon_factor: how far outlines may move, as a multiple of their length.
    """
    _, _, width, height = rle_box(code)
    rings = mask_outline(code, epsilon_factor * 2 * (width + height))
    return [
        {
            "label": label or _LABEL,
            "shape_type": "polygon",
            "points": [list(map(float, point)) for point in [*ring, ring[0]]],
            "score": round(score, 4),
            "attributes": {},
            "description": None,
            "difficult": False,
            "direction": 0,
            "flags": None,
            "group_id": None,
            "kie_linking": [],
        }
        for ring in rings
        if _is_part(ring)
    ]


def _is_part(ring: list[list[float]]) -> bool:
    """Whether a ring bounds a part, not a hole."""
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]])) > 0
