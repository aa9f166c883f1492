"""What makes weights useless, whatever reads them."""

from collections.abc import Mapping

from torch import Tensor


def not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """The first tensor that holds NaN or infinity, which a training that diverged leaves behind.

    Args:
        weights: tensors by name.

    Returns:
        Its name; None if all are finite.
    """
    return next((name for name, one in weights.items() if one.is_floating_point() and not _is_finite(one)), None)


def _is_finite(one: Tensor) -> bool:
    # A sum takes a fraction of the time, and is finite only if all are; it may overflow where all are.
    return bool(one.sum().isfinite()) or bool(one.isfinite().all())
