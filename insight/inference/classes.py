"""Classes as people give them: by name or by number."""

from collections.abc import Sequence

import torch
from torch import Tensor


def class_indices(
    classes: str | int | Sequence[str | int] | Tensor, count: int, class_names: Sequence[str], name: str = "classes"
) -> Tensor:
    """The class of each of some boxes.

    Args:
        classes: a name or an index from 0 for all boxes, or one for each; tensor, array or list.
        count: how many boxes there are.
        class_names: names of the K classes.
        name: what to call `classes` in an error.

    Returns:
        (count,) int64, from 0 to K - 1.

    Raises:
        ValueError: a class that there is not, or neither one class nor one for each box.
    """
    each = classes.tolist() if hasattr(classes, "tolist") else classes
    if isinstance(each, str | int):
        each = [each] * count
    if len(each) != count:
        raise ValueError(f"{name}: expected one class for all boxes or one for each of {count}, got {len(each)}")
    indices = {known: index for index, known in enumerate(class_names)}
    indices |= {index: index for index in range(len(class_names))}
    for one in each:
        if one not in indices:
            raise ValueError(f"{name}: there is no class {one!r}; the model knows {', '.join(class_names)}")
    return torch.tensor([indices[one] for one in each], dtype=torch.int64)
