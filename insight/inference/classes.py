"""Classes given by name or by index."""

from collections.abc import Sequence

import torch
from torch import Tensor

from insight.errors import InputError

Classes = str | int | Sequence[str | int] | Tensor
LARGEST_INDEX = 9999  # of a class without a name, as all up to it are listed


def class_indices(classes: Classes, count: int, class_names: Sequence[str], name: str = "classes") -> Tensor:
    """Resolve known classes to indices.

    Args:
        classes: a name or an index from 0, for all boxes or one per box; a tensor, array or list.
        count: number of boxes.
        class_names: names of the K classes.
        name: the argument's name, for error messages.

    Returns:
        (count,) int64, from 0 to K - 1.

    Raises:
        InputError: an unknown class, or neither one class nor one per box.
    """
    each = _one_each(classes, count, name)
    indices: dict[str | int, int] = {known: index for index, known in enumerate(class_names)}
    indices |= {index: index for index in range(len(class_names))}
    for one in each:
        if one not in indices:
            raise InputError(f"{name}: unknown class {one!r}; the model's classes are {', '.join(class_names)}")
    return torch.tensor([indices[one] for one in each], dtype=torch.int64)


def label_classes(classes: Classes, count: int, name: str = "classes") -> tuple[Tensor, list[str]]:
    """Number the classes given to a model without classes of its own.

    Args:
        classes: a name or an index from 0, for all prompts or one per prompt; a tensor, array or list.
        count: number of prompts.
        name: the argument's name, for error messages.

    Returns:
        Class ids (count,) int64, and the names that they index: the given names in order of first appearance, or the
        numbers up to the largest given index.

    Raises:
        InputError: neither one class nor one per prompt, an index below 0 or above LARGEST_INDEX, or names mixed with
            indices.
    """
    each = _one_each(classes, count, name)
    given = [one for one in each if isinstance(one, str)]
    if len(given) == len(each):
        names = list(dict.fromkeys(given)) or ["object"]
        return torch.tensor([names.index(one) for one in given], dtype=torch.int64), names
    indices = [one for one in each if isinstance(one, int) and one >= 0]
    if len(indices) != len(each):
        raise InputError(f"{name}: expected class names or indices from 0, got {each!r:.80}")
    most = max(indices)
    if most > LARGEST_INDEX:
        raise InputError(f"{name}: expected class indices up to {LARGEST_INDEX}, got {most}")
    return torch.tensor(indices, dtype=torch.int64), [str(index) for index in range(most + 1)]


def _one_each(classes: Classes, count: int, name: str) -> list[str | int]:
    each = classes.tolist() if hasattr(classes, "tolist") else classes
    if isinstance(each, str | int):
        return [each] * count
    if not isinstance(each, Sequence) or len(each) != count:
        got = len(each) if isinstance(each, Sequence) else repr(each)
        raise InputError(f"{name}: expected one class for all boxes or one for each of {count}, got {got}")
    return [one.item() if hasattr(one, "item") else one for one in each]
