"""Validation during training, and the best checkpoint by it."""

import json
import logging
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog
from detectron2.engine import HookBase
from detectron2.utils import comm

from insight.errors import InputError
from insight.modeling.checkpointer import Checkpointer
from insight.runtime.atomic_files import atomic_write
from insight.runtime.json_values import parse_json

BEST, _RECORD = "model_best", "model_best.json"

_logger = logging.getLogger(__name__)


def validation_subset(dataset_name: str, count: int) -> list[dict]:
    """Choose images of a dataset, the same in every run.

    Args:
        dataset_name: registered dataset.
        count: most images.

    Returns:
        Their dataset dicts, in the order of the dataset.
    """
    dicts = DatasetCatalog.get(dataset_name)
    chosen = sorted(random.Random(0).sample(range(len(dicts)), min(count, len(dicts))))
    return [dicts[i] for i in chosen]


def score_of(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> float:
    """Return the mean over the datasets of the AP of masks, or of boxes where there are no masks.

    Args:
        results: {dataset: {task: {metric: value}}}.

    Returns:
        Percent; NaN without results.
    """
    values = [tasks.get("segm", tasks.get("bbox", {})).get("AP", math.nan) for tasks in results.values()]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


class Validation(HookBase):
    """Measures the model every so many iterations, and keeps the best checkpoint as model_best.pth.

    model_best.json holds its score and iteration, by which a resumed run goes on. `last_checkpoint` never names
    it: training is resumed from the latest checkpoint.

    Args:
        period: iterations between measurements; the last iteration is left to the final evaluation.
        measure: returns {dataset: {task: {metric: value}}}, in the main process.
        checkpointer: saves the model.
    """

    def __init__(self, period: int, measure: Callable[[], dict[str, Any]], checkpointer: Checkpointer):
        self._period, self._measure, self._checkpointer = period, measure, checkpointer

    def before_train(self) -> None:
        """Read the best score of the training that is resumed."""
        path = Path(self._checkpointer.save_dir, _RECORD)
        self._best = -math.inf
        if self.trainer.start_iter > 0 and path.is_file():
            try:
                self._best = float(parse_json(path.read_bytes(), str(path))["score"])
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}: expected the score of {BEST}.pth; remove both files") from error

    def after_step(self) -> None:
        """Measure, if it is time."""
        done = self.trainer.iter + 1
        if done % self._period or done == self.trainer.max_iter:
            return
        results = self._measure()
        comm.synchronize()
        if not comm.is_main_process():
            return
        for dataset, tasks in results.items():
            for task, metrics in tasks.items():
                if not math.isnan(metrics.get("AP", math.nan)):
                    self.trainer.storage.put_scalar(f"validation/{dataset}/{task}/AP", metrics["AP"], False)
        score = score_of(results)
        if not score > self._best:
            return
        self._best = score
        self._checkpointer.save(BEST, is_last=False, iteration=self.trainer.iter)
        with atomic_write(Path(self._checkpointer.save_dir, _RECORD)) as file:
            json.dump({"score": score, "iteration": self.trainer.iter}, file)
        _logger.info(f"{BEST}.pth: AP {score:.2f} after {done} iterations is the best so far")
