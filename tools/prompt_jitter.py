#!/usr/bin/env python
"""Prompt a model with true boxes whose sides are shifted at random: mask IoU over the noise."""

import argparse

from insight.cli.reporting import reports_errors
from insight.engine.jitter import NOISES, jitter_curve
from insight.engine.measurement import measured_config, measurement_arguments, write_measurement
from insight.inference.box_correction import check_correct_boxes


def arguments() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = measurement_arguments(__doc__)
    parser.add_argument(
        "--noise",
        action="append",
        type=float,
        metavar="F",
        help=f"largest shift of a side, as a fraction of the box's; repeatable (default: {NOISES})",
    )
    parser.add_argument(
        "--correct-boxes",
        type=float,
        default=0.0,
        metavar="IOU",
        help="let the model correct the boxes, as predict.py has it (default 0: never)",
    )
    return parser


@reports_errors
def main() -> None:
    """Run the command."""
    args = arguments().parse_args()
    cfg = measured_config(args)
    check_correct_boxes(args.correct_boxes, cfg, "--correct-boxes")
    results = jitter_curve(cfg, args.noise or NOISES, args.correct_boxes)
    for dataset, tasks in results.items():
        for name, value in tasks["jitter"].items():
            print(f"{dataset}: {name:24s} {value:6.2f}")
    write_measurement(args, cfg, results, correct_boxes=args.correct_boxes)


if __name__ == "__main__":
    main()
