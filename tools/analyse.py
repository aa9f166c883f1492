#!/usr/bin/env python
"""Draw precision over recall of detections, and tell which kinds of errors cost how much AP."""

import argparse

from insight.cli.reporting import reports_errors
from insight.data.bad_options import add_bad_options
from insight.evaluation.analysis import analyse
from insight.evaluation.error_report import breakdown_table
from insight.runtime.outputs import output_folder


def arguments() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: analyse.py output/light/inference/nwpu_vhr10_val_results.json --annotations truth.json "
        "--output analysis",
    )
    parser.add_argument(
        "predictions",
        metavar="PREDICTIONS.json",
        help="detections: inference/DATASET_results.json of an evaluation, or predictions.json of tools/predict.py",
    )
    parser.add_argument("--annotations", required=True, metavar="GT.json", help="COCO file of the ground truth")
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="classes that count, of what is there and of what was found; default: all",
    )
    parser.add_argument("--images", metavar="DIR", help="folder of its images, to say which are missing")
    add_bad_options(
        parser,
        "leave out what is wrong in the ground truth, such as images that are missing, as DATASETS.BAD skip does",
    )
    parser.add_argument(
        "--output", type=output_folder, required=True, metavar="DIR", help="folder for pictures and tables"
    )
    parser.add_argument(
        "--max-dets", type=int, default=100, metavar="N", help="detections an image and class that count (default: 100)"
    )
    return parser


@reports_errors
def main() -> None:
    """Run the command."""
    args = arguments().parse_args()
    breakdowns = analyse(
        args.predictions,
        args.annotations,
        args.output,
        args.max_dets,
        classes=args.classes,
        images=args.images,
        skip_bad=args.skip_bad,
    )
    for task, breakdown in breakdowns.items():
        print(f"\n{task}, written to {args.output}/{task}\n{breakdown_table(breakdown)}")


if __name__ == "__main__":
    main()
