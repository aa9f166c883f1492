"""Validation of score thresholds."""

from insight.errors import InputError


def check_score_threshold(value: float) -> float:
    """Validate a score threshold.

    Args:
        value: detections with a lower score are left out.

    Returns:
        The value.

    Raises:
        InputError: value is not a number from 0 to 1.
    """
    if not 0 <= value <= 1:  # False for NaN
        raise InputError(f"score_threshold: expected a number from 0 to 1, got {value}")
    return value
