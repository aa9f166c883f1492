"""JSON: values that it can hold, and texts that may come from anyone."""

import json
import math
from typing import Any

from insight.errors import InputError


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse JSON.

    Args:
        text: the text, or its bytes in UTF-8.
        where: the file, and the place in it, for errors.

    Returns:
        The values.

    Raises:
        InputError: not JSON, nested too deeply, or a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{where}: its lists are nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, and Python's limit of digits
        raise InputError(f"{where}: not JSON ({error})") from None


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
