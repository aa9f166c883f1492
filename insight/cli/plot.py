"""`insight plot`."""

import argparse

from insight.runtime.outputs import check_output_file

from .options import add_command


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "plot",
        run,
        "Plot training curves",
        (
            "plot output/light",
            "plot output/baseline output/light --metrics total_loss segm/AP --output curves.png",
        ),
    )
    parser.sources = "runs"
    parser.add_argument("runs", nargs="+", metavar="SOURCE", help="OUTPUT_DIRs of training runs, with metrics.json")
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help="metrics to draw, one panel each, such as segm/AP (default: all losses)",
    )
    parser.add_argument(
        "--output", default="output/training.png", metavar="FILE", help="PNG file (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    output = check_output_file(args.output)

    from insight.visualization.curves import plot_metrics

    plot_metrics(args.runs, args.metrics, output)
    print(f"wrote {args.output}")
