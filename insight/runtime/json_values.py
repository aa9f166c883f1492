"""Values that JSON can hold."""

import math
from typing import Any


def plain(node: Any) -> Any:
    """Replace NaN and infinity, which JSON cannot hold, by None.

    Args:
        node: dicts, lists and values.

    Returns:
        A copy.
    """
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [plain(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node
