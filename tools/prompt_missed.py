#!/usr/bin/env python
"""Prompt a detector with the boxes of the instances that it misses, and evaluate what it finds and what it answers."""

import argparse

from insight.cli.reporting import reports_errors
from insight.data.datasets.coco import require_classes_of_model
from insight.engine.measurement import measured_config, measurement_arguments, write_measurement
from insight.evaluation.missed import LEAST_SCORE, evaluate_missed
from insight.inference.predictor import PromptPredictor
from insight.inference.score_threshold import check_score_threshold


def arguments() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = measurement_arguments(__doc__)
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=LEAST_SCORE,
        metavar="S",
        help="an instance is missed unless a detection with this score finds it (default: %(default)s)",
    )
    return parser


@reports_errors
def main() -> None:
    """Run the command."""
    args = arguments().parse_args()
    check_score_threshold(args.score_threshold)
    cfg = measured_config(args)
    predictor = PromptPredictor(cfg)
    results = {}
    for dataset in cfg.DATASETS.TEST:
        require_classes_of_model(predictor.class_names, dataset)
        found = evaluate_missed(predictor, dataset, args.score_threshold, cfg.TEST.MAX_DETS, cfg.TEST.AREA_PROFILE)
        results[dataset] = {"missed": found}
        print(f"{dataset}: {found['missed']:.0f} of {found['instances']:.0f} instances are missed")
        for name in ("AP", "AP50", "AP75"):
            print(f"{name:5s} automatic {found[f'automatic {name}']:6.2f}   prompted {found[f'prompted {name}']:6.2f}")
    write_measurement(args, cfg, results, least_score=args.score_threshold)


if __name__ == "__main__":
    main()
