#!/usr/bin/env python
"""Draw the curves of one or more trainings into a picture."""

import argparse

from insight.cli.reporting import reports_errors
from insight.runtime.outputs import output_file
from insight.visualization.curves import plot_metrics


@reports_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: plot_training.py output/baseline output/light --metrics total_loss segm/AP --output new.png",
    )
    parser.add_argument("runs", nargs="+", metavar="DIR", help="OUTPUT_DIR of a training")
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help="what to draw of metrics.json, a panel each, such as segm/AP (default: all losses)",
    )
    parser.add_argument(
        "--output", type=output_file, default="output/training.png", metavar="FILE", help="default: %(default)s"
    )
    args = parser.parse_args()
    plot_metrics(args.runs, args.metrics, args.output)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
