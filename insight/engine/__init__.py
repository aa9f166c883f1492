"""Training and evaluation."""

from .launch import launch
from .setup import setup, start_output, train_arguments
from .trainer import Trainer, evaluate

__all__ = ["Trainer", "evaluate", "launch", "setup", "start_output", "train_arguments"]
