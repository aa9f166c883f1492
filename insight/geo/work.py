"""What a run over a scene consists of: jobs that give the same results in any order and in any process."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import nn

from insight.runtime.digests import digest

from .found import Piece
from .raster import Raster


class Found(NamedTuple):
    """N objects in the order in which they are written.

    Attributes:
        pieces: their masks; None where a prompt got none.
        class_ids: N indices of classes.
        scores: N scores.
        prompts: N indices of the prompts that they answer; None without prompts.
    """

    pieces: Sequence[Piece | None]
    class_ids: list[int]
    scores: list[float]
    prompts: list[int] | None = None


class Results(Protocol):
    """Results of jobs by their names, such as a `Journal`."""

    def __contains__(self, key: str) -> bool: ...

    def __getitem__(self, key: str) -> Any: ...

    def add(self, key: str, result: Any) -> None:
        """Add the result of a job, JSON values."""


class Work(Protocol):
    """The jobs of one scene.

    Attributes:
        raster: the scene.
        keys: names of the jobs, in the order of reading.
        unit: what a job is, for the progress.
        categories: names of the classes.
        settings: all that the results depend on besides the raster, as JSON values.
    """

    raster: Raster
    keys: list[str]
    unit: str
    categories: list[str]
    settings: dict[str, Any]

    def read(self, key: str) -> np.ndarray:
        """Read the pixels of a job."""

    def answer(self, key: str, pixels: np.ndarray) -> Any:
        """Run the model on them."""

    def pack(self, key: str, answer: Any) -> Any:
        """Convert the model's answer to JSON values."""

    def found(self, results: Results) -> Iterator[Found]:
        """Assemble the results of all jobs, some objects at a time."""


def model_settings(model: Any) -> dict[str, Any]:
    """Describe a predictor by all that its answers depend on.

    Args:
        model: the predictor; if it has a `model` of torch, the description covers its weights and the numbers, texts
            and switches of its layers.

    Returns:
        JSON values.
    """
    described = {"type": type(model).__name__, "options": _plain_attributes(model)}
    module = getattr(model, "model", None)
    if isinstance(module, nn.Module):
        tensors = sorted(module.state_dict().items())
        numbers = (tensor.detach().cpu().float().numpy().tobytes() for _, tensor in tensors)
        described["weights"] = digest(str([(name, tensor.dtype) for name, tensor in tensors]).encode(), *numbers)
        described["layers"] = digest(*(f"{n} {_plain_attributes(m)}".encode() for n, m in module.named_modules()))
    return described


def _plain_attributes(thing: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in sorted(vars(thing).items())
        if not name.startswith("_") and isinstance(value, bool | int | float | str)
    }
