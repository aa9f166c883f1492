"""Shared by the measurements of a trained model: reading the config, writing the results."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode

from insight.config import ConfigPart, load_config
from insight.data.datasets import register_from_config, require_registered
from insight.data.datasets.coco import require_classes_of_model
from insight.inference.predictor import PromptPredictor
from insight.runtime.machine import describe_machine

from .entry import require_test_sets
from .results import Metrics, write_results


def measured_config(
    config_files: str | Sequence[str], overrides: Sequence[str] = (), start: ConfigPart | None = None
) -> CfgNode:
    """Load the config of a model to measure, and register its datasets.

    Args:
        config_files, overrides, start: as in `load_config`; MODEL.WEIGHTS is the checkpoint.

    Returns:
        The frozen config.

    Raises:
        InsightError: the config cannot be used, DATASETS.TEST is empty, or a dataset is unknown.
    """
    cfg = load_config(config_files, overrides, start)
    require_test_sets(cfg)
    register_from_config(cfg)
    require_registered(cfg.DATASETS.TEST, "DATASETS.TEST")
    return cfg


def measured_predictor(cfg: CfgNode) -> PromptPredictor:
    """Load the detector to measure.

    Args:
        cfg: the output of `measured_config`.

    Returns:
        The detector.

    Raises:
        CheckpointError: the checkpoint is missing or does not fit the model.
        InputError: the classes of a test dataset differ from the model's.
    """
    predictor = PromptPredictor(cfg)
    for dataset in cfg.DATASETS.TEST:
        require_classes_of_model(predictor.class_names, dataset)
    return predictor


def write_measurement(path: str | os.PathLike, cfg: CfgNode, results: Metrics, **settings: Any) -> None:
    """Write results together with the checkpoint that was measured and the machine that measured it.

    Args:
        path: the JSON file.
        cfg: the config that was measured.
        results: {dataset: {task: {metric: value}}}.
        settings: other values to keep, besides "results".
    """
    made = describe_machine(torch.device(cfg.MODEL.DEVICE))
    write_results(path, results, **settings, weights=cfg.MODEL.WEIGHTS, made=made)
