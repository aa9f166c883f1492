"""`insight cvat`."""

import argparse
import getpass
import os

from insight.errors import InputError
from insight.hub import DEFAULT_SOPSEG
from insight.runtime.words import counted

from .options import add_command, add_device, check_model, integer


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "cvat",
        run,
        "Give the boxes of a CVAT task masks, rotated boxes too",
        (
            "cvat --task 7 --url https://app.cvat.ai",
            "cvat --task 7 --url http://localhost:8080 --user anna --shape polygon --classes ship plane",
        ),
        "The model runs here; CVAT needs no other server. A mask is in the group of its box, and a box that has\n"
        "one is skipped: run it again if it was stopped, or after drawing more. Close the task's jobs before.\n"
        "CVAT_ACCESS_TOKEN holds a personal access token of CVAT; with --user, it asks for the password.",
    )
    parser.add_argument("--task", type=integer(1), required=True, metavar="N", help="number of the task")
    parser.add_argument("--url", required=True, help="address of CVAT")
    parser.add_argument("--user", metavar="NAME", help="log in by password instead of CVAT_ACCESS_TOKEN")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="labels whose boxes get masks (default: all)")
    parser.add_argument(
        "--shape",
        choices=("mask", "polygon"),
        default="mask",
        help="masks keep every pixel; polygons have fewer corners and no holes (default: %(default)s)",
    )
    parser.add_argument(
        "--model", default="", metavar="NAME", help="name or folder of a SOPSeg model (default: sopseg-vit-t)"
    )
    add_device(parser, "cuda if there is a GPU")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_model(args, DEFAULT_SOPSEG, "sopseg")
    token, password = os.environ.get("CVAT_ACCESS_TOKEN"), ""
    if args.user:
        token, password = None, getpass.getpass(f"Password of {args.user} at {args.url}: ")
    elif not token:
        raise InputError("user: expected the name of a user, or a token in CVAT_ACCESS_TOKEN, got neither")

    from insight.annotation.cvat_task import REASONS, annotate_task, open_task
    from insight.inference.sopseg_predictor import SOPSegPredictor

    with open_task(args.url, args.task, token=token, user=args.user or "", password=password) as task:
        predictor = SOPSegPredictor.from_pretrained(args.model or DEFAULT_SOPSEG, args.device or None)
        counts = annotate_task(task, predictor, shape=args.shape, classes=args.classes)
    print(f"task {args.task}: made masks of {counted(counts['made'], 'box')}, {counts['done']} had them before")
    for reason, meaning in REASONS.items():
        if counts[reason]:
            print(f"left out {counts[reason]}: {meaning}")
