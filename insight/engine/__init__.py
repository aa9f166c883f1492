"""Training and evaluation."""

from .dry_run import dry_run
from .entry import evaluate, train, trainer_class
from .launch import launch
from .setup import check_run, prepared_run, start_logs, start_output
from .trainer import Trainer

__all__ = [
    "Trainer",
    "check_run",
    "dry_run",
    "evaluate",
    "launch",
    "prepared_run",
    "start_logs",
    "start_output",
    "train",
    "trainer_class",
]
