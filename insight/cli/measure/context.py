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
        "Measure whether LPM and GPM use the crop of a box and the image around it",
        (
            "measure context --output context.json",
            "measure context --datasets nwpu_vhr10_train nwpu_vhr10_val --steps 800 --output nwpu.json",
        ),
        "Trains a constant, LPM and GPM to classify ground-truth boxes; needs no trained model and takes minutes on\n"
        "one core. By default only the surroundings of the drawn objects distinguish their classes. The objects of a\n"
        "dataset are classified twice: by the prompts alone, and by a frozen backbone's features with the prompts.",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="JSON file for the results")
    parser.add_argument(
        "--datasets", nargs=2, metavar=("TRAIN", "TEST"), help="registered datasets, instead of drawn scenes"
    )
    parser.add_argument(
        "--steps", type=integer(50), default=400, metavar="N", help="training steps (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=integer(0), default=0, metavar="S", help="seed of weights and images (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    output = check_output_file(args.output)

    import torch

    from insight.data.datasets import require_registered
    from insight.evaluation.context_samples import dataset_samples, drawn_samples
    from insight.evaluation.context_study import study_context
    from insight.runtime.atomic_files import atomic_write
    from insight.runtime.machine import describe_machine

    if args.datasets:
        require_registered(args.datasets, "datasets")
        samples = dataset_samples(*args.datasets, args.seed)
        results = {
            name: study_context(samples, args.steps, args.seed, features=features)
            for name, features in (("prompts alone", False), ("beside a backbone", True))
        }
    else:
        samples = drawn_samples(args.seed)
        results = {"prompts alone": study_context(samples, args.steps, args.seed)}
    for name, rows in results.items():
        groups = next(iter(rows.values()))
        print(f"{f'right answers, percent, {name}':44s}" + "".join(f" {group:>6s}" for group in groups))
        for row, shares in rows.items():
            print(f"{row:44s}" + "".join(f" {shares[group]:6.1f}" for group in groups))
    with atomic_write(output) as file:
        made = describe_machine(torch.device("cpu"))
        settings = {"datasets": args.datasets, "steps": args.steps, "seed": args.seed}
        json.dump({"made": made, **settings, "results": results}, file, indent=1)
