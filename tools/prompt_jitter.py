#!/usr/bin/env python
"""Prompt a model with true boxes whose sides are shifted at random: mask IoU over the noise."""

import argparse

import torch

from insight.config import load_config
from insight.data.datasets import register_from_config
from insight.engine.jitter import NOISES, jitter_curve
from insight.engine.results import write_results
from insight.errors import reports_errors
from insight.machine import describe_machine


def arguments() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="config of the model")
    parser.add_argument(
        "--weights", default="", metavar="FILE", help="checkpoint; default: MODEL.WEIGHTS of the config"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="JSON file for the results")
    parser.add_argument(
        "--noise",
        action="append",
        type=float,
        metavar="F",
        help=f"largest shift of a side, as a fraction of the box's; repeatable (default: {NOISES})",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="more config values")
    return parser


@reports_errors
def main() -> None:
    """Run the command."""
    args = arguments().parse_args()
    cfg = load_config(args.config_file, [*args.opts, *(["MODEL.WEIGHTS", args.weights] if args.weights else [])])
    register_from_config(cfg)
    results = jitter_curve(cfg, args.noise or NOISES)
    for dataset, tasks in results.items():
        for name, value in tasks["jitter"].items():
            print(f"{dataset}: {name:24s} {value:6.2f}")
    made = describe_machine(torch.device(cfg.MODEL.DEVICE))
    write_results(args.output, results, weights=cfg.MODEL.WEIGHTS, made=made)


if __name__ == "__main__":
    main()
