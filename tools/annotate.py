#!/usr/bin/env python
"""Make masks of the boxes of a data set with SOPSeg or SAM; writes a COCO file, a report and a review file."""

import argparse
import logging
import sys
from dataclasses import fields
from pathlib import Path

import torch

from insight.annotation.filters import Filters
from insight.annotation.review import Review
from insight.annotation.run import annotate, apply_review
from insight.annotation.segmentation import SOPSegSegmenter
from insight.annotation.sources import open_source
from insight.cli.reporting import reports_errors
from insight.data.bad_options import add_bad_options
from insight.runtime.machine import parse_device
from insight.runtime.outputs import output_folder

MEANINGS = {
    "min_score": "least predicted IoU",
    "min_in_box": "least share of the mask inside its box",
    "min_area_ratio": "least area of the mask as a share of its box's",
    "max_area_ratio": "largest area of the mask as a share of its box's",
    "min_largest_part": "least share of the mask in its largest part",
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: annotate.py dota/train --weights sopseg.pth --output masks; then change decisions in "
        "masks/review.csv and: annotate.py dota/train --output masks --review masks/review.csv. "
        "A COCO file: annotate.py boxes.json --images images/ --weights sopseg.pth --output masks",
    )
    parser.add_argument(
        "boxes", type=Path, metavar="BOXES", help="folder of DOTA (images/, labelTxt/) or SODA-A (Images/, "
        "Annotations/), or a COCO .json file, perhaps with an oriented_box for each annotation",
    )  # fmt: skip
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images of a COCO file")
    parser.add_argument("--weights", metavar="FILE", help="checkpoint of SOPSeg, SAM or MobileSAM")
    parser.add_argument(
        "--output", type=output_folder, required=True, metavar="DIR", help="folder for all that is written"
    )
    parser.add_argument("--review", metavar="FILE", help="apply the decisions of this file to the masks in DIR")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="classes that count; default: all")
    parser.add_argument(
        "--input-size", type=int, default=256, help="side of the crops, pixels: a multiple of 64 (default: 256)"
    )
    parser.add_argument("--device", default="", help="cpu, cuda or cuda:N; default: cuda where there is one")
    parser.add_argument(
        "--bf16",
        action="store_true",
        help="compute in bfloat16: faster on CPUs that know it, masks that differ a little at edges",
    )
    add_bad_options(
        parser,
        "leave out images and boxes that are wrong, with warnings",
        "default: leave it out, and end with exit code 1",
    )
    filters = parser.add_argument_group("filters")
    for field in fields(Filters):
        option = "--" + field.name.replace("_", "-")
        meaning = f"{MEANINGS[field.name]} (default: {field.default})"
        filters.add_argument(option, dest=field.name, type=float, metavar="X", help=meaning)
    return parser


@reports_errors
def main() -> int:
    logging.basicConfig(format="%(message)s")
    args = arguments().parse_args()
    bounds = {f.name: value for f in fields(Filters) if (value := getattr(args, f.name)) is not None}
    if args.review and bounds:
        raise ValueError(f"--review decides, so leave out the filters: {', '.join(bounds)}")
    if not args.review and not args.weights:
        raise ValueError("--weights FILE is needed, a checkpoint of SOPSeg, SAM or MobileSAM")
    if args.review:
        review = Review(args.review)
        source = open_source(args.boxes, args.images, args.classes, strict=args.strict)
        statistics = apply_review(source, review, args.output)
    else:
        filters = Filters(**bounds)
        dtype = torch.bfloat16 if args.bf16 else torch.float32
        segmenter = SOPSegSegmenter(args.weights, args.input_size, parse_device(args.device), dtype)
        source = open_source(args.boxes, args.images, args.classes, strict=args.strict)
        statistics = annotate(source, segmenter, filters, args.output)
    kept, dropped = statistics.count("kept"), statistics.count("dropped")
    print(f"kept {kept} masks, dropped {dropped}: {args.output}/instances.json; see {args.output}/report.md")
    print(f"change decisions in {args.output}/review.csv and apply them with --review")
    for name, reason in source.failures.items():
        print(f"{'warning' if args.skip_bad else 'error'}: {name}: {reason}", file=sys.stderr)
    return 1 if source.failures and not args.skip_bad else 0


if __name__ == "__main__":
    sys.exit(main())
