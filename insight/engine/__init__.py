"""Training and evaluation."""

from .launch import launch
from .setup import setup, train_arguments
from .trainer import Trainer, evaluate

__all__ = ["Trainer", "evaluate", "launch", "setup", "train_arguments"]
