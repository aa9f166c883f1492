#!/usr/bin/env python
"""Find instances in images, or segment the boxes that you give; writes pictures and one COCO JSON file."""

import argparse
import os
import sys

from insight.cli.reporting import reports_errors
from insight.config import load_config
from insight.inference.file_predictor import build_file_predictor
from insight.inference.files import find_images, predict_files
from insight.inference.prompt_files import BoxPrompts, parse_boxes, read_boxes
from insight.inference.score_threshold import check_score_threshold
from insight.runtime.machine import parse_device
from insight.runtime.outputs import output_folder


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: predict.py harbour.png --config-file output/config.yaml --weights output/model_final.pth "
        "--boxes 10,20,50,60 --boxes 70,20,90,45 --output results",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, folders or glob patterns")
    parser.add_argument("--config-file", required=True, metavar="FILE", help="config of the model")
    parser.add_argument(
        "--weights", default="", metavar="FILE", help="checkpoint; default: MODEL.WEIGHTS of the config"
    )
    parser.add_argument(
        "--output",
        type=output_folder,
        required=True,
        metavar="DIR",
        help="folder for predictions.json and overlays/; pictures of other images that are there stay",
    )
    parser.add_argument(
        "--boxes", action="append", metavar="X1,Y1,X2,Y2", help="a box prompt in pixels, for every image; repeatable"
    )
    parser.add_argument(
        "--oriented-boxes",
        action="append",
        metavar="CX,CY,W,H,ANGLE",
        help="an oriented box (degrees, counter-clockwise), or its corners as 8 numbers; answered after --boxes; "
        "repeatable",
    )
    parser.add_argument(
        "--boxes-json",
        metavar="FILE",
        help="instead: a list of boxes [[x1, y1, x2, y2], ...], or of oriented boxes with 5 or 8 numbers each, or such "
        "a list for each image's file name",
    )
    parser.add_argument(
        "--class",
        dest="given_class",
        metavar="NAME",
        help="what all the boxes hold: answers have this class, its mask and, as score, its probability; default: the "
        "model tells the class of each box",
    )
    parser.add_argument(
        "--correct-boxes",
        type=float,
        default=0.0,
        metavar="IOU",
        help="boxes drawn in haste (not oriented ones): where a box and what the model makes of it overlap by less "
        "than this, take the model's; 0.5 touches few, 0.7 more (docs/model.md has what they cost and give), 1 "
        "corrects all, 0 (the default) none",
    )
    parser.add_argument(
        "--score-threshold", type=float, default=0.5, metavar="S", help="least score of a found instance (default 0.5)"
    )
    parser.add_argument("--device", default="", help="cpu, cuda or cuda:N; default: MODEL.DEVICE of the config")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="more config values; comes last"
    )
    return parser


def joined_negatives(argv: list[str]) -> list[str]:
    """`--boxes -5,0,10,10` as `--boxes=-5,0,10,10`: argparse takes a leading minus for an option."""
    options = ("--boxes", "--oriented-boxes")
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in options and word.startswith("-"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def prompts_of(args: argparse.Namespace, parser: argparse.ArgumentParser) -> BoxPrompts | dict[str, BoxPrompts] | None:
    if args.boxes or args.oriented_boxes:
        if args.boxes_json:
            parser.error("--boxes-json: not allowed with --boxes and --oriented-boxes")
        return parse_boxes(args.boxes or [], args.oriented_boxes or [])
    return read_boxes(args.boxes_json) if args.boxes_json else None


def has_boxes(prompts: BoxPrompts | dict[str, BoxPrompts] | None) -> bool:
    """Whether a horizontal box is among the prompts."""
    groups = prompts.values() if isinstance(prompts, dict) else [prompts] if prompts is not None else []
    return any(len(group.boxes) for group in groups)


@reports_errors
def main() -> int:
    parser = arguments()
    args = parser.parse_args(joined_negatives(sys.argv[1:]))
    overrides = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", check_score_threshold(args.score_threshold)]
    overrides += ["MODEL.WEIGHTS", args.weights] if args.weights else []
    overrides += ["MODEL.DEVICE", str(parse_device(args.device))] if args.device else []
    images = find_images(args.images)
    prompts = prompts_of(args, parser)
    if args.correct_boxes and not has_boxes(prompts):
        raise ValueError(
            "--correct-boxes: there are no boxes to correct: give --boxes, or boxes of 4 numbers by --boxes-json"
        )
    cfg = load_config(args.config_file, overrides + args.opts)
    predictor = build_file_predictor(cfg, prompts is not None, args.given_class, args.correct_boxes)
    branch = cfg.MODEL.SOPSEG_BRANCH
    weights = [os.stat(path) for path in (cfg.MODEL.WEIGHTS, branch.WEIGHTS if branch.ENABLED else "") if path]
    settings = {
        "config": cfg.dump(),
        "weights": [[file.st_size, file.st_mtime] for file in weights],
        "class": args.given_class,
        "correct_boxes": args.correct_boxes,
    }
    answered, failures = predict_files(predictor, images, args.output, prompts, settings)
    without = f", without {len(failures)} that failed" if failures else ""
    if answered or not failures:
        print(f"wrote {args.output}/predictions.json and the pictures in {args.output}/overlays{without}")
    for reason in failures.values():
        print(f"error: {reason}", file=sys.stderr)
    if failures and not answered:
        stays = f"nothing was written to {args.output}, what was there stays"
        print(f"error: all {len(failures)} images failed: {stays}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
