#!/usr/bin/env python
"""Prompt a detector with the boxes of the instances that it misses, and evaluate what it finds and what it answers."""

import argparse

import torch

from insight.config import load_config
from insight.data.datasets import register_from_config
from insight.engine.results import write_results
from insight.errors import reports_errors
from insight.evaluation.missed import LEAST_SCORE, evaluate_missed
from insight.inference.predictor import PromptPredictor
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
        "--score-threshold",
        type=float,
        default=LEAST_SCORE,
        metavar="S",
        help="an instance is missed unless a detection with this score finds it (default: %(default)s)",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="more config values")
    return parser


@reports_errors
def main() -> None:
    """Run the command."""
    args = arguments().parse_args()
    cfg = load_config(args.config_file, [*args.opts, *(["MODEL.WEIGHTS", args.weights] if args.weights else [])])
    register_from_config(cfg)
    predictor = PromptPredictor(cfg)
    results = {}
    for dataset in cfg.DATASETS.TEST:
        found = evaluate_missed(predictor, dataset, args.score_threshold, cfg.TEST.MAX_DETS, cfg.TEST.AREA_PROFILE)
        results[dataset] = {"missed": found}
        print(f"{dataset}: {found['missed']:.0f} of {found['instances']:.0f} instances are missed")
        for name in ("AP", "AP50", "AP75"):
            print(f"{name:5s} automatic {found[f'automatic {name}']:6.2f}   prompted {found[f'prompted {name}']:6.2f}")
    made = describe_machine(torch.device(cfg.MODEL.DEVICE))
    write_results(args.output, results, least_score=args.score_threshold, weights=cfg.MODEL.WEIGHTS, made=made)


if __name__ == "__main__":
    main()
