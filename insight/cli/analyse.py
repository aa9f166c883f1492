"""`insight analyse`."""

import argparse

from insight.runtime.inputs import check_input
from insight.runtime.outputs import check_output_folder

from .options import add_bad_options, add_command, integer


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "analyse",
        run,
        "Draw precision-recall curves of detections, and break their errors down by cause",
        (
            "analyse output/light/inference/nwpu_vhr10_val_results.json --annotations truth.json --output analysis",
            "analyse found/predictions.json --annotations truth.json --output analysis --max-dets 1000",
        ),
    )
    parser.add_argument(
        "predictions",
        metavar="SOURCE",
        help="detections: inference/DATASET_results.json of an evaluation, or predictions.json of `insight predict`",
    )
    truth = parser.add_argument_group("ground truth")
    truth.add_argument("--annotations", required=True, metavar="FILE", help="COCO file")
    truth.add_argument("--images", metavar="DIR", help="folder of its images, to check that they exist")
    truth.add_argument("--classes", nargs="+", metavar="NAME", help="classes to evaluate (default: all)")
    parser.add_argument("--output", required=True, metavar="DIR", help="output folder for pictures and tables")
    parser.add_argument(
        "--max-dets",
        type=integer(1),
        default=100,
        metavar="N",
        help="detections per image and class that count (default: %(default)s)",
    )
    add_bad_options(parser, "leave out bad entries of the ground truth, and missing or damaged images")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    folder = check_output_folder(args.output)
    check_input(args.predictions)
    check_input(args.annotations, "annotations")
    if args.images is not None:
        check_input(args.images, "images", "folder")

    from insight.evaluation.analysis import analyse
    from insight.evaluation.error_report import breakdown_table
    from insight.runtime.locks import output_folder

    with output_folder(folder) as output:
        breakdowns = analyse(
            args.predictions,
            args.annotations,
            output,
            args.max_dets,
            classes=args.classes,
            images=args.images,
            skip_bad=args.skip_bad,
        )
    for task, breakdown in breakdowns.items():
        print(f"\n{task}, written to {args.output}/{task}\n{breakdown_table(breakdown)}")
