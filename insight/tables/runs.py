"""The runs of a table and their folders."""

import functools
import hashlib
import operator
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode

from insight.config import find_config, is_sopseg, load_config
from insight.engine.results import RESULTS, finished_run, read_results
from insight.errors import InputError

from .spec import Row, Table

# Measurements on a trained model: the task in its results, and the sub-command of `insight measure`
STEPS = {"missed": "missed", "jitter": "jitter", "prompt_use": "prompt-use", "proposals": "proposals"}
_LONGEST = 200  # bytes of a folder's name, before the seed; file systems take 255


@dataclass(frozen=True)
class Run:
    """A row of a table with one seed.

    Args:
        row: the row.
        seed: its seed; None where nothing is random: `row.eval_only`.
        folder: its OUTPUT_DIR.
        overrides: KEY, VALUE, KEY, VALUE, ... on top of the row's configs.
        cfg: the resolved config.
        steps: measurements on the trained model, of STEPS.
    """

    row: Row
    seed: int | None
    folder: Path
    overrides: tuple[str, ...]
    cfg: CfgNode
    steps: tuple[str, ...]

    @property
    def label(self) -> str:
        """The row's name and the seed."""
        return self.row.name if self.seed is None else f"{self.row.name}, seed {self.seed}"

    def trained(self) -> dict[str, Any] | None:
        """Return the results of the training, as `finished_run`; None if it has not ended."""
        return finished_run(self.folder, self.cfg)

    def step_results(self, step: str) -> dict[str, Any] | None:
        """Return the results of a measurement; None if it was not made since the training ended."""
        path, results = self.folder / f"{step}.json", self.folder / RESULTS
        if not path.is_file() or path.stat().st_mtime < results.stat().st_mtime:
            return None
        return read_results(path)

    def results(self) -> dict[str, Any] | None:
        """Return the results of the training and the measurements so far; None if the training has not ended."""
        content = self.trained()
        if content is not None:
            for step in self.steps:
                for dataset, tasks in (self.step_results(step) or {"results": {}})["results"].items():
                    content["results"].setdefault(dataset, {}).update(tasks)
        return content


def plan_runs(table: Table, folder: str | os.PathLike, overrides: Sequence[str] = ()) -> list[Run]:
    """List the runs of a table: every row with the first seed, then with the next.

    A run's folder is named after its configs, the row's options and the seed, so that tables share their runs.

    Args:
        table: the table.
        folder: folder of all runs.
        overrides: KEY, VALUE, KEY, VALUE, ... for every row; a row's own options take precedence.

    Returns:
        The runs, each once.

    Raises:
        InputError: a config cannot be used; two rows are the same; a column is of a dataset that a row is not evaluated
            on; or a config key that the table needs has no value.
    """
    tasks = {column.path[1] for column in table.columns if not column.is_measure}
    steps = tuple(step for step in STEPS if step in tasks)
    if not torch.cuda.is_available():
        overrides = ["MODEL.DEVICE", "cpu", *overrides]  # load_config would warn at each run
    runs = {}
    for seed in table.seeds:
        for row in table.rows:
            run_seed = None if row.eval_only else seed
            values = [str(value) for pair in row.options.items() for value in pair]
            place = Path(folder, find_config(row.configs[0]).resolve().parent.name, _name(row, run_seed))
            if place in runs:
                if runs[place].row is not row:
                    raise InputError(f"rows {runs[place].row.name!r} and {row.name!r} are the same run")
                continue  # one for all seeds
            values = [*map(str, overrides), *values, "OUTPUT_DIR", str(place)]
            values += [] if run_seed is None else ["SEED", str(run_seed)]
            try:
                cfg = load_config(row.configs, values)
            except InputError as error:
                raise InputError(f"row {row.name!r}: {error}") from error
            _check(table, row, cfg)
            own = tuple(step for step in steps if step != "prompt_use" or _reads_images(cfg))
            runs[place] = Run(row, run_seed, place, tuple(values), cfg, own)
    return list(runs.values())


def _reads_images(cfg: CfgNode) -> bool:
    """Whether a detector has prompts whose use can be measured."""
    return not is_sopseg(cfg) and (cfg.MODEL.PROMPT.LPM.ENABLED or cfg.MODEL.PROMPT.GPM.ENABLED)


def _name(row: Row, seed: int | None) -> str:
    configs = "+".join(Path(config).stem for config in row.configs)
    options = [f"{key}_{value}" for key, value in row.options.items()]
    *start, end = [configs, *options, "eval_only" if seed is None else f"seed{seed}"]
    start = re.sub(r"[^\w.+-]+", "_", "-".join(start))
    if len(start.encode()) > _LONGEST:
        start = f"{start[: _LONGEST // 4]}-{hashlib.sha256(start.encode()).hexdigest()[:16]}"
    return f"{start}-{end}"


def _check(table: Table, row: Row, cfg: CfgNode) -> None:
    for key in table.needs:
        try:
            value = functools.reduce(operator.getitem, key.split("."), cfg)
        except (KeyError, TypeError) as error:
            raise InputError(f"needs: unknown config key {key!r:.80}") from error
        if not value:
            raise InputError(f"the table needs a value for {key}: add {key} VALUE to the overrides")
    for column in table.columns:
        if not column.is_measure and column.path[0] not in cfg.DATASETS.TEST:
            raise InputError(
                f"column {column.title!r} needs {column.path[0]}, but row {row.name!r} is evaluated on "
                f"{', '.join(cfg.DATASETS.TEST) or 'nothing'} (DATASETS.TEST)"
            )
