"""`insight measure context`."""

import argparse
import json

from insight.runtime.outputs import check_output_file

from ..options import add_command, integer


def add_parser(measurements) -> None:
    """Add the command."""
    parser = add_command(
        measurements,
        "context",
        run,
        "Train a constant, LPM and GPM on drawn scenes in which only the surroundings tell classes apart",
        ("measure context --output context.json", "measure context --output context.json --steps 200 --seed 1"),
        "Needs no trained model; takes minutes on one core of a CPU.",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="JSON file for the results")
    parser.add_argument(
        "--steps", type=integer(50), default=400, metavar="N", help="training steps (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=integer(0), default=0, metavar="S", help="of weights and scenes (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    output = check_output_file(args.output)

    import torch

    from insight.evaluation.context_study import study_context
    from insight.runtime.atomic_files import atomic_write
    from insight.runtime.machine import describe_machine

    results = study_context(args.steps, args.seed)
    print(f"{'right answers, percent':44s} {'cars':>6s} {'tanks':>6s} {'all':>6s}")
    for row, shares in results.items():
        print(f"{row:44s} {shares['cars']:6.1f} {shares['tanks']:6.1f} {shares['all']:6.1f}")
    with atomic_write(output) as file:
        made = describe_machine(torch.device("cpu"))
        json.dump({"made": made, "steps": args.steps, "seed": args.seed, "results": results}, file, indent=1)
