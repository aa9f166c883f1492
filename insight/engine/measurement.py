"""What the commands that measure a trained model share: their arguments, the config they make, the file they write."""

import argparse
from typing import Any

import torch
from detectron2.config import CfgNode

from insight.config import load_config
from insight.data.bad_options import add_bad_options_over_config, bad_overrides
from insight.data.datasets import register_from_config, require_registered
from insight.runtime.machine import describe_machine
from insight.runtime.outputs import output_file

from .entry import require_test_sets
from .results import Metrics, write_results


def measurement_arguments(description: str) -> argparse.ArgumentParser:
    """The arguments that say which model is measured and where the results go; a command may add its own.

    Args:
        description: of the command.

    Returns:
        The parser.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog="example: %(prog)s --config-file output/light/config.yaml --weights output/light/model_final.pth "
        "--output measured.json",
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="config of the model")
    parser.add_argument(
        "--weights", default="", metavar="FILE", help="checkpoint; default: MODEL.WEIGHTS of the config"
    )
    parser.add_argument("--output", type=output_file, required=True, metavar="FILE", help="JSON file for the results")
    add_bad_options_over_config(parser)
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="more config values")
    return parser


def measured_config(args: argparse.Namespace) -> CfgNode:
    """Read the config and register its data sets.

    Args:
        args: of `measurement_arguments()`.

    Returns:
        The frozen config; MODEL.WEIGHTS is the checkpoint.

    Raises:
        ValueError: of `load_config` and `register_from_config`; DATASETS.TEST is empty, or there is no data set of a
            name.
    """
    weights = ["MODEL.WEIGHTS", args.weights] if args.weights else []
    cfg = load_config(args.config_file, [*args.opts, *weights, *bad_overrides(args)])
    require_test_sets(cfg)
    register_from_config(cfg)
    require_registered(cfg.DATASETS.TEST, "DATASETS.TEST")
    return cfg


def write_measurement(args: argparse.Namespace, cfg: CfgNode, results: Metrics, **settings: Any) -> None:
    """Write results, with the checkpoint they are of and the machine that made them.

    Args:
        args: of `measurement_arguments()`.
        cfg: the config that was measured.
        results: {data set: {task: {metric: value}}}.
        settings: other values to keep, beside "results".
    """
    made = describe_machine(torch.device(cfg.MODEL.DEVICE))
    write_results(args.output, results, **settings, weights=cfg.MODEL.WEIGHTS, made=made)
