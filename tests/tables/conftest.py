"""A table of two rows of a tiny model, and a way to complete its runs without training."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip("detectron2")

from helpers.tiny import CONFIG

from insight.config import dump_config
from insight.engine.results import CONFIG as CONFIG_FILE
from insight.engine.results import RESULTS, config_digest, write_results
from insight.runtime.atomic_files import atomic_write
from insight.tables import read_table

MADE = {
    "date": "2026-11-22T10:00:00+00:00", "commit": "abc", "torch": "2.14", "machine": "Linux", "cpu": "two", "cores": 2,
    "threads": 1, "gpu": None,
}  # fmt: skip


@pytest.fixture
def made():
    """Where the runs were made."""
    return dict(MADE)


@pytest.fixture
def description(tmp_path):
    """Content of the table's YAML file, with its config files beside it."""
    config = {**CONFIG, "DATASETS": {"TRAIN": ["small_train"], "TEST": ["small_val"]}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    return {
        "title": "Tiny",
        "seeds": [1, 2],
        "rows": [
            {"name": "baseline", "config": "tiny.yaml"},
            {"name": "faster", "config": "tiny.yaml", "options": {"SOLVER.BASE_LR": 0.01}},
        ],
        "columns": {"mask AP": "small_val/segm/AP"},
    }


@pytest.fixture
def read(tmp_path):
    """Write a description to a file and read it."""

    def read(content):
        path = tmp_path / "table.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return read_table(path)

    return read


@pytest.fixture
def finish():
    """Write the files of a completed run, with these metrics."""

    def finish(run, metrics=None, task="segm", dataset="small_val"):
        folder = Path(run.folder)
        with atomic_write(folder / CONFIG_FILE) as file:
            file.write(dump_config(run.cfg))
        found = {dataset: {task: metrics or {"AP": 10.0}}}
        write_results(folder / RESULTS, found, config=config_digest(run.cfg), iteration=8, made=MADE)

    return finish
