import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from detectron2.utils.logger import setup_logger
from helpers.tiny import CONFIG, PROMPTS, PROMPTS_FILE, write_dataset
from helpers.zygote import zygote

from insight.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def insight(capsys, monkeypatch):
    """Run a command in this process: `insight("data check", NAME)` is `insight data check NAME`."""

    def run(command, *args):
        monkeypatch.setattr("signal.signal", lambda number, handler: None)  # would outlive the test
        forget_logs()
        capsys.readouterr()
        code = main([*command.split(), *map(str, args)])
        forget_logs()
        return Done(code, *capsys.readouterr())

    return run


def forget_logs():
    """Undo Detectron2's `setup_logger`, which holds on to this test's standard output and OUTPUT_DIR."""
    setup_logger.cache_clear()
    for name in ("detectron2", "fvcore", "insight"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    """Starts commands in processes of their own, which tests kill."""
    with zygote(tmp_path_factory.mktemp("commands")) as one:
        yield one


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A folder with a dataset of rectangles and a config file of a tiny model for it with all prompt parts."""
    folder = tmp_path_factory.mktemp("project")
    annotations, images = write_dataset(folder / "rectangles")
    config = {
        "_BASE_": str(PROMPTS_FILE),
        **CONFIG,
        "DATASETS": {
            "COCO": [["tool_rectangles", str(annotations), str(images)]],
            "TRAIN": ["tool_rectangles"],
            "TEST": ["tool_rectangles"],
        },
        "MODEL": {**CONFIG["MODEL"], **PROMPTS},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="session")
def trained(project):
    """A checkpoint of two iterations of it."""
    # As Detectron2's users start it: this is the one quick test of a process from start to end.
    overrides = ["SOLVER.MAX_ITER", "2", "OUTPUT_DIR", str(project / "trained"), "DATALOADER.NUM_WORKERS", "1"]
    command = [sys.executable, str(ROOT / "tools" / "train_net.py"), "--config-file", str(project / "config.yaml")]
    done = subprocess.run([*command, *overrides], capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return project / "trained"
