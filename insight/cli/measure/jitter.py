"""`insight measure jitter`."""

import argparse

from .common import add_measurement, measured_config

_NOISES = (0.0, 0.05, 0.1, 0.2, 0.3)


def add_parser(measurements) -> None:
    """Add the command."""
    parser = add_measurement(
        measurements,
        "jitter",
        run,
        "Measure mask IoU against the noise of box prompts: ground-truth boxes whose sides are shifted at random",
        " --noise 0 --noise 0.2",
    )
    parser.add_argument(
        "--noise",
        dest="noises",
        action="append",
        type=float,
        metavar="F",
        help="largest shift of a side, as a fraction of the box's extent, below 0.5; repeatable "
        f"(default: {', '.join(map(str, _NOISES))})",
    )
    parser.add_argument(
        "--correct-boxes",
        type=float,
        default=0.0,
        metavar="IOU",
        help="let the model correct the boxes, as in `insight predict` (default: %(default)s, never)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    cfg = measured_config(args)

    from insight.engine.jitter import jitter_curve
    from insight.engine.measurement import write_measurement

    results = jitter_curve(cfg, args.noises or _NOISES, args.correct_boxes)
    for dataset, tasks in results.items():
        for name, value in tasks["jitter"].items():
            print(f"{dataset}: {name:24s} {value:6.2f}")
    write_measurement(args.output, cfg, results, correct_boxes=args.correct_boxes)
