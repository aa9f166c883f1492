"""The table of what models add to their prompts."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from insight.checkpoint import CheckpointError
from insight.config import is_sopseg, load_config
from insight.data.datasets import require_registered
from insight.errors import InputError
from insight.evaluation.contenders import (
    BoxFill,
    Contender,
    CropSAM,
    FixedMarginSAM,
    ImageFree,
    Trained,
    UprightSAM,
    WholeImageSAM,
)
from insight.evaluation.gain import MeasuredRow, Sample, fit_exponents, measure
from insight.evaluation.gain_table import SummarisedRow, summarise, write_gain
from insight.evaluation.prompted_objects import CONDITIONS
from insight.hub import find
from insight.hub.finding import is_weight_file
from insight.modeling.sopseg import SOPSeg, load_sopseg
from insight.modeling.sopseg.crop_size import default_crop_size
from insight.modeling.sopseg.decoders import SAMDecoder
from insight.runtime.digests import file_digest
from insight.runtime.locks import output_folder
from insight.runtime.machine import describe_machine

from .results import CONFIG

EXPONENT = 2.5  # of the superellipse, where it is not fitted: the best for exact prompts on iSAID's training tiles


@dataclass(frozen=True)
class TrainedModel:
    """A SOPSeg to measure.

    Args:
        name: heading of its row.
        weights: checkpoint.
        size: side of the crops, pixels; None for `default_crop_size`.
        magnify: False segments in the whole image.
        form: form of oriented boxes, "oriented_box" or "box"; None for the one of `in_form`.
    """

    name: str
    weights: Path
    size: int | None = None
    magnify: bool = True
    form: str | None = None

    @classmethod
    def find(cls, name: str, model: str | os.PathLike) -> "TrainedModel":
        """Find a model.

        Args:
            name: heading of its row.
            model: a checkpoint; the OUTPUT_DIR of a training run, whose model_final.pth is used; or the name or folder
                of a model, as `insight.hub.find` takes it.

        Raises:
            InsightError: there is no such model, or it is a detector.
        """
        path = Path(model)
        if is_weight_file(path):
            if not path.is_file():
                raise InputError(f"{path}: no such checkpoint")
            return cls(name, path)
        if (path / CONFIG).is_file():
            cfg = load_config(path / CONFIG, ["MODEL.DEVICE", "cpu"])
            if not is_sopseg(cfg):
                raise InputError(f"{path}: expected a training run of SOPSeg, got one of {cfg.MODEL.META_ARCHITECTURE}")
            keys = cfg.MODEL.SOPSEG
            form = "box" if keys.PROMPT == "box" else "oriented_box"
            return cls(name, path / "model_final.pth", keys.INPUT_SIZE, keys.MAGNIFY, form)
        found = find(model)
        found.require_kind("sopseg")
        assert found.architecture is not None
        keys = found.architecture
        return cls(name, found.weights, keys.input_size, keys.magnify, keys.prompt)


def measure_gain(
    output: str | os.PathLike,
    dataset: str,
    *,
    sam: str | os.PathLike | None = None,
    trained: Sequence[TrainedModel] = (),
    fit_on: str | None = None,
    count: int | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    command: str = "",
) -> list[SummarisedRow]:
    """Measure what models add to exact and loose prompts, and write gain.md and gain.json.

    The rows are an image-free superellipse and the filled box; with SAM, its masks from the whole image, from
    magnified crops, clipped to the prompt, from crops rotated upright and from crops with a fixed margin; and trained
    models. Rows that an earlier run has finished are kept, by the content of weights and data.

    Args:
        output: folder for the table and for rows/, the journals of the rows.
        dataset: registered name.
        sam: checkpoint of SAM; None leaves its rows out.
        trained: SOPSeg's checkpoints.
        fit_on: registered name of the training set that the superellipse's exponents are fitted to; None uses 2.5.
        count: number of objects, in equal shares of the classes; None for all.
        seed: seed of the choice of objects and of the bootstrap.
        device: device of the models; None for the CPU.
        command: the command line, for the reader of the table.

    Returns:
        The numbers of the rows.

    Raises:
        InsightError: a dataset is unknown or has no masks, or a checkpoint is missing or of another model.
        BlockingIOError: another process is writing to the folder.
    """
    require_registered([dataset, *([fit_on] if fit_on else [])], "dataset")
    device = device or torch.device("cpu")
    for one in trained:  # before anything is measured
        file_digest(one.weights)
    with output_folder(output) as folder:
        sample = Sample.choose(dataset, count, seed)
        if not sample.images:
            raise InputError(f"{dataset}: expected at least one object with a mask, got none")
        exponents = fit_exponents(fit_on, seed) if fit_on else dict.fromkeys(CONDITIONS, EXPONENT)
        made = describe_machine(device)
        measured: list[MeasuredRow] = []
        summarised: list[SummarisedRow] = []
        simple: list[Contender] = [ImageFree(exponents), BoxFill()]
        for contender in itertools.chain(simple, _of_sam(sam, device), _of_trained(trained, device)):
            measured += measure(contender, sample, folder / "rows")
            summarised = summarise(measured, sample)
            write_gain(summarised, sample, folder, made, command)
        return summarised


def _of_sam(weights: str | os.PathLike | None, device: torch.device) -> Iterator[Contender]:
    if weights is None:
        return
    model = load_sopseg(weights)
    if type(model.mask_decoder) is not SAMDecoder:
        raise CheckpointError(f"{weights}: expected a checkpoint of SAM, got one with another mask decoder")
    model.for_inference(device)
    known, size = file_digest(weights), default_crop_size(model)
    yield WholeImageSAM(model, known)
    yield CropSAM(model, known, size)
    yield UprightSAM(model, known, size)
    yield FixedMarginSAM(model, known, size)


def _of_trained(models: Sequence[TrainedModel], device: torch.device) -> Iterator[Contender]:
    for one in models:
        model: SOPSeg = load_sopseg(one.weights).for_inference(device)
        size = one.size or default_crop_size(model)
        yield Trained(one.name, model, file_digest(one.weights), size, one.magnify, one.form)
