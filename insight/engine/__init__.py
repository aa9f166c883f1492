"""Training and evaluation."""

from .entry import evaluate, trainer_class
from .launch import launch
from .setup import setup, start_output, train_arguments
from .trainer import Trainer

__all__ = ["Trainer", "evaluate", "launch", "setup", "start_output", "train_arguments", "trainer_class"]
