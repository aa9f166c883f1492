"""Prepare a process for a run: datasets and weights checked, logs started."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from insight.data.datasets import register_from_config, require_registered
from insight.modeling.checkpointer import require_weights
from insight.runtime.locks import output_folder
from insight.runtime.outputs import check_output_folder


@contextlib.contextmanager
def prepared_run(cfg: CfgNode, *, evaluation: bool = False, resume: bool = False) -> Iterator[None]:
    """Register and check what a run needs, start its logs, and lock OUTPUT_DIR while the block runs.

    Nothing is written before all checks have passed. Of several processes the first one holds the folder for all.

    Args:
        cfg: the config.
        evaluation: the run evaluates a checkpoint and trains nothing.
        resume: the run goes on from the last checkpoint in OUTPUT_DIR, if there is one.

    Raises:
        InsightError: a dataset is unknown, weights are missing, or OUTPUT_DIR cannot be used.
        OSError: OUTPUT_DIR cannot be written to, or another run is writing there.
    """
    check_run(cfg, evaluation=evaluation, resume=resume)
    check_output_folder(cfg.OUTPUT_DIR, "OUTPUT_DIR")
    with output_folder(cfg.OUTPUT_DIR) if comm.is_main_process() else contextlib.nullcontext():
        start_output(cfg)
        if resume and not Path(cfg.OUTPUT_DIR, "last_checkpoint").is_file():
            logger = logging.getLogger(__name__)
            logger.warning(f"{cfg.OUTPUT_DIR} has no last_checkpoint to resume from: MODEL.WEIGHTS is used")
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not evaluation
        yield


def check_run(cfg: CfgNode, *, evaluation: bool = False, resume: bool = False) -> None:
    """Register the datasets of a run, and check that they and the weights are there.

    Args:
        cfg, evaluation, resume: as in `prepared_run`.

    Raises:
        InsightError: a dataset is unknown, or weights are missing.
    """
    register_from_config(cfg)
    for key in ("TEST",) if evaluation else ("TRAIN", "TEST"):
        require_registered(cfg.DATASETS[key], f"DATASETS.{key}")
    require_weights(cfg, resume)


def start_output(cfg: CfgNode) -> None:
    """Start the logs of a run, and describe it there.

    Args:
        cfg: the config.

    Raises:
        InputError: OUTPUT_DIR is a file.
        OSError: OUTPUT_DIR cannot be written to.
    """
    check_output_folder(cfg.OUTPUT_DIR, "OUTPUT_DIR")
    start_logs(cfg.OUTPUT_DIR)
    logger = logging.getLogger(__name__)
    logger.info(f"Process {comm.get_rank()} of {comm.get_world_size()}")
    logger.info(f"torch {torch.__version__} on {cfg.MODEL.DEVICE} with {torch.get_num_threads()} CPU threads")


def start_logs(folder: str | None = None) -> None:
    """Log to the terminal and, if there is a folder, to log.txt in it, which alone gets the printed model.

    Args:
        folder: of log.txt, or None.
    """
    for name in ("detectron2", "fvcore", "insight"):
        setup_logger(folder, distributed_rank=comm.get_rank(), name=name)
    for handler in logging.getLogger("detectron2").handlers:
        if getattr(handler, "stream", None) is sys.stdout:
            handler.addFilter(_is_short)


def _is_short(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Model:\n")  # hundreds of lines
