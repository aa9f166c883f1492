"""Cache for tensors that are computed from a parameter, such as a position table resized to the input."""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor


class DerivedTensors:
    """Caches what was computed from a frozen parameter or buffer, by key.

    Nothing is cached while the source requires gradients or torch.compile traces, since a stale tensor or one without a
    graph would be wrong there.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Tensor, Tensor]] = {}  # a copy of the source, and the result

    def get(self, source: Tensor, key: Hashable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `compute(source)`, recomputed only if the source has changed since the last call with this key.

        Args:
            source: the parameter or buffer.
            key: identifies the result, such as the input size.
            compute: a function of the source and of what the key determines.

        Returns:
            The result, in the source's dtype and on its device.
        """
        takes_gradient = source.requires_grad and torch.is_grad_enabled()
        if takes_gradient or torch.compiler.is_compiling() or source.is_inference():
            return compute(source)
        kept = self._kept.get(key)
        if kept is None or not _is_same(kept[0], source):
            # A tensor made in inference mode could not be used in a later training step.
            with torch.inference_mode(False), torch.no_grad():
                kept = self._kept[key] = (source.detach().clone(), compute(source))
        return kept[1]


def _is_same(kept: Tensor, source: Tensor) -> bool:
    # By value, since writes through `.data` leave no other trace. So the source should be small.
    return kept.dtype == source.dtype and kept.device == source.device and torch.equal(kept, source)
