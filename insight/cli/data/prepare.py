"""`insight data prepare`."""

import argparse
from pathlib import Path

from insight.errors import InputError
from insight.runtime.inputs import check_input
from insight.runtime.outputs import check_output_folder
from insight.runtime.words import counted

from ..options import SAME_COMMAND, add_bad_options, add_command


def add_parser(tasks) -> None:
    """Add the command."""
    parser = add_command(
        tasks,
        "prepare",
        run,
        "Convert a published dataset to images and COCO files",
        (
            "data prepare isaid iSAID --output $INSIGHT_DATA/isaid",
            "data prepare hrsid HRSID_PNG --output $INSIGHT_DATA/hrsid_painted",
            "data prepare sat_mtb $INSIGHT_DATA/sat_mtb",
        ),
        "isaid: patches of 800 x 800 pixels, as its development kit cuts them\n"
        "hrsid: a COCO file of the instances painted into its pictures\n"
        "sat_mtb: one COCO file of its masks, which are one file per frame; it is written into SOURCE",
    )
    parser.continues = SAME_COMMAND
    parser.add_argument(
        "kind", choices=("isaid", "hrsid", "sat_mtb"), metavar="DATASET", help="isaid, hrsid or sat_mtb"
    )
    parser.add_argument("source", metavar="SOURCE", help="folder of the dataset as published")
    parser.add_argument("--output", metavar="DIR", help="output folder; not for sat_mtb")
    add_bad_options(parser, "leave out unusable images, with one warning")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    in_place = args.kind == "sat_mtb"
    if in_place and args.output is not None:
        raise InputError("output: sat_mtb is prepared in its own folder; leave --output out")
    output = None if in_place else check_output_folder(args.output or "")
    check_input(args.source, kind="folder")

    from insight.data.preparation.painted import prepare_hrsid, prepare_isaid
    from insight.data.preparation.sat_mtb import prepare_sat_mtb

    if output is None:
        done = prepare_sat_mtb(Path(args.source), skip_bad=args.skip_bad)
    else:
        prepare = {"isaid": prepare_isaid, "hrsid": prepare_hrsid}[args.kind]
        done = prepare(Path(args.source), output, skip_bad=args.skip_bad)
    for split, counts in done.items():
        made = f"{counted(counts.pop('images'), 'image')}, {counted(counts.pop('annotations'), 'annotation')}"
        print(f"{split}: {made}" + "".join(f"; left out {count} {reason}" for reason, count in counts.items()))
