"""Choose masks by their measurements."""

import math
from dataclasses import dataclass, fields
from typing import Any

from insight.errors import InputError

# The meaning of each reason in a review file.
REASONS = {
    "no_area": "the box has no area",
    "outside": "the box lies outside the image",
    "empty": "the mask is empty",
    "score": "the predicted IoU is low",
    "in_box": "much of the mask lies outside the box",
    "small": "the mask fills little of the box",
    "large": "the mask is larger than the box",
    "scattered": "the mask has no part that holds most of it",
}
WITHOUT_MASK = ("no_area", "outside", "empty")  # cannot be kept by hand either


@dataclass(frozen=True)
class Filters:
    """Bounds on the measurements of a mask; docs/guides/annotate.md says how the defaults were found.

    Args:
        min_score: lowest predicted IoU; may be negative, as predictions may.
        min_in_box: smallest share of the mask inside its box.
        min_area_ratio: smallest area of the mask, as a multiple of the area of the box.
        max_area_ratio: largest area of the mask, as a multiple of the area of the box.
        min_largest_part: smallest share of the mask in its largest part.

    Raises:
        InputError: a bound is NaN or out of its range, or no area ratio could pass.
    """

    min_score: float = 0.5
    min_in_box: float = 0.8
    min_area_ratio: float = 0.1
    max_area_ratio: float = 1.2
    min_largest_part: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            if math.isnan(getattr(self, field.name)):
                raise InputError(f"{field.name}: expected a number, got NaN")
        for name in ("min_in_box", "min_largest_part"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}")
        if self.min_score > 1:
            raise InputError(f"min_score: expected at most 1, got {self.min_score}")
        for name in ("min_area_ratio", "max_area_ratio"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.min_area_ratio > self.max_area_ratio:
            raise InputError(
                f"min_area_ratio: expected at most max_area_ratio {self.max_area_ratio}, got {self.min_area_ratio}"
            )

    def reasons(self, measured: dict[str, Any]) -> list[str]:
        """List the reasons against a mask.

        Args:
            measured: the output of `measure_mask` and "score", the predicted IoU; or {"unusable": reason} for a box
                without a mask.

        Returns:
            Keys of REASONS; empty if the mask is kept.
        """
        if "unusable" in measured:
            return [measured["unusable"]]
        if not measured["area"]:
            return ["empty"]
        bad = {
            "score": not measured["score"] >= self.min_score,  # also NaN
            "in_box": measured["in_box"] < self.min_in_box,
            "small": measured["area_ratio"] < self.min_area_ratio,
            "large": measured["area_ratio"] > self.max_area_ratio,
            "scattered": measured["largest_part"] < self.min_largest_part,
        }
        return [reason for reason, holds in bad.items() if holds]
