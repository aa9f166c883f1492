"""Which masks to keep, by what was measured of them."""

import math
from dataclasses import dataclass, fields
from typing import Any

# What every reason in a review file means.
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
WITHOUT_MASK = ("no_area", "outside", "empty")  # what cannot be kept by hand either


@dataclass(frozen=True)
class Filters:
    """Bounds on what is measured of a mask; docs/guides/annotate.md says how the defaults were found.

    Args:
        min_score: least predicted IoU; may be negative, as predictions may.
        min_in_box: least share of the mask inside its box.
        min_area_ratio: least area of the mask as a share of the box's.
        max_area_ratio: largest area of the mask as a share of the box's.
        min_largest_part: least share of the mask that its largest part holds.

    Raises:
        ValueError: a bound is NaN or out of its range, or no area ratio could pass.
    """

    min_score: float = 0.5
    min_in_box: float = 0.8
    min_area_ratio: float = 0.1
    max_area_ratio: float = 1.2
    min_largest_part: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            if math.isnan(getattr(self, field.name)):
                raise ValueError(f"{field.name}: expected a number, got NaN")
        for name in ("min_in_box", "min_largest_part"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}")
        if self.min_score > 1:
            raise ValueError(f"min_score: expected at most 1, got {self.min_score}")
        for name in ("min_area_ratio", "max_area_ratio"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.min_area_ratio > self.max_area_ratio:
            raise ValueError(
                f"min_area_ratio: expected at most max_area_ratio {self.max_area_ratio}, got {self.min_area_ratio}"
            )

    def reasons(self, measured: dict[str, Any]) -> list[str]:
        """Why not to keep a mask.

        Args:
            measured: of `measure_mask` with "score", the predicted IoU; or {"unusable": why the box has no mask}.

        Returns:
            Keys of REASONS; none if it is to be kept.
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
