#!/usr/bin/env python
"""Draw images of a data set side by side: the truth, and what each of several models makes of them."""

import argparse
import os
from pathlib import Path

from insight.cli.reporting import reports_errors
from insight.config import load_config
from insight.data.bad_options import add_bad_options_over_config, bad_overrides
from insight.data.datasets import register_from_config, require_registered
from insight.evaluation.comparison import Contender, choose_entries, draw_comparisons, worst_entries
from insight.inference.score_threshold import check_score_threshold
from insight.runtime.machine import parse_device
from insight.runtime.outputs import output_folder


def arguments() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: compare.py --runs baseline=output/baseline ours=output/ours --output output/compare",
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        required=True,
        metavar="NAME=RUN",
        help="models: an OUTPUT_DIR of a training, or CONFIG,WEIGHTS (no WEIGHTS: those that the config names)",
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: the first of DATASETS.TEST of the first model")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--images", nargs="+", default=[], metavar="FILE", help="its images, with folders where names repeat"
    )
    which.add_argument(
        "--worst",
        type=int,
        metavar="N",
        help="the N images with the lowest IoU of an object, in inference/DATASET_prompted.json of the last of --runs",
    )
    parser.add_argument("--count", type=int, default=8, help="else, how many, of many classes (default: 8)")
    parser.add_argument(
        "--prompted", action="store_true", help="give detectors the true boxes as prompts (SOPSeg always gets prompts)"
    )
    parser.add_argument(
        "--score-threshold", type=float, default=0.5, metavar="S", help="least score of a found instance (default: 0.5)"
    )
    parser.add_argument(
        "--output", type=output_folder, default="output/compare", metavar="DIR", help="for the pictures (%(default)s)"
    )
    parser.add_argument("--device", default="", help="cpu, cuda or cuda:N; default: as the configs have it")
    add_bad_options_over_config(parser)
    return parser


def contender(text: str, more: list[str]) -> Contender:
    """The model that NAME=DIR or NAME=CONFIG,WEIGHTS means, with more config overrides."""
    name, _, run = text.partition("=")
    config, _, weights = (run, "", "") if os.path.exists(run) else run.partition(",")
    if not name or not config:
        raise ValueError(f"--runs {text}: expected NAME=DIR or NAME=CONFIG,WEIGHTS")
    overrides = []
    if Path(config).is_dir():
        overrides = ["OUTPUT_DIR", config]  # it may have been moved
        config, weights = f"{config}/config.yaml", weights or f"{config}/model_final.pth"
    if not Path(config).is_file():
        raise ValueError(f"--runs {text}: {config}: no such file or folder")
    overrides += ["MODEL.WEIGHTS", weights] if weights else []
    cfg = load_config(config, [*overrides, *more])
    register_from_config(cfg)
    return Contender(name, cfg)


@reports_errors
def main() -> None:
    """Run the command."""
    args = arguments().parse_args()
    check_score_threshold(args.score_threshold)
    for option in ("worst", "count"):
        number = getattr(args, option)
        if number is not None and number < 1:
            raise ValueError(f"--{option} {number}: expected at least 1")
    device = ["MODEL.DEVICE", str(parse_device(args.device))] if args.device else []
    contenders = [contender(text, [*device, *bad_overrides(args)]) for text in args.runs]
    dataset = args.dataset or next(iter(contenders[0].cfg.DATASETS.TEST), None)
    if dataset is None:
        raise ValueError("no data set: give --dataset NAME")
    require_registered([dataset], "--dataset" if args.dataset else "DATASETS.TEST")
    if args.worst is None:
        entries = choose_entries(dataset, args.images, args.count)
    else:
        measured = Path(contenders[-1].cfg.OUTPUT_DIR, "inference", f"{dataset}_prompted.json")
        entries = worst_entries(dataset, measured, args.worst)
    paths = draw_comparisons(
        contenders,
        dataset,
        entries,
        args.output,
        prompted=args.prompted,
        score_threshold=args.score_threshold,
    )
    print(f"{len(paths)} pictures in {args.output}")


if __name__ == "__main__":
    main()
