"""The least score that a person asks a tool for."""


def check_score_threshold(value: float) -> float:
    """Say whether a --score-threshold can be one.

    Args:
        value: what was given; detections below it are left out.

    Returns:
        It.

    Raises:
        ValueError: it is not a number from 0 to 1.
    """
    if not 0 <= value <= 1:  # not a number is neither
        raise ValueError(f"--score-threshold {value}: expected a number from 0 to 1")
    return value
