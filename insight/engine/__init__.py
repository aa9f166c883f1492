"""Training and evaluation."""

from .entry import evaluate, train, trainer_class
from .launch import launch
from .setup import prepare_run, start_output
from .trainer import Trainer

__all__ = ["Trainer", "evaluate", "launch", "prepare_run", "start_output", "train", "trainer_class"]
