"""`insight predict`."""

import argparse

from insight.errors import InputError
from insight.version import __version__

from .options import add_command, add_model, add_overrides, chosen_model, config_of
from .reporting import print_error


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "predict",
        run,
        "Detect objects in images, or segment given boxes",
        (
            "predict images/ --output found",
            "predict a.png --boxes 10,20,50,60 --oriented-boxes 40,50,30,10,15 --output masks",
            "predict a.png --model scenes-light --boxes 10,20,50,60 --output classified",
            "predict images/ --config-file output/light/config.yaml --weights output/light/model_final.pth "
            "--output mine",
        ),
        "Without a model, the shipped scenes-light detects, and the shipped sopseg-vit-t segments boxes.\n"
        "Writes predictions.json (COCO) and a picture of each image. A stopped run resumes where it was.",
    )
    parser.sources = "images"
    parser.add_argument("images", nargs="+", metavar="SOURCE", help="image files, folders or glob patterns")
    model = parser.add_argument_group("model")
    add_model(model, "sopseg-vit-t for boxes, scenes-light without")
    prompts = parser.add_argument_group("prompts", "without prompts, the model detects objects by itself")
    prompts.add_argument(
        "--boxes", action="append", default=[], metavar="X1,Y1,X2,Y2", help="a box in every image, pixels; repeatable"
    )
    prompts.add_argument(
        "--oriented-boxes",
        action="append",
        default=[],
        metavar="CX,CY,W,H,ANGLE",
        help="an oriented box (pixels; degrees, counter-clockwise), or its four corners as 8 numbers; repeatable",
    )
    prompts.add_argument(
        "--boxes-json",
        metavar="FILE",
        help="JSON file with boxes instead: a list of boxes of 4, 5 or 8 numbers, or such a list by image file name",
    )
    prompts.add_argument(
        "--class", dest="given_class", metavar="NAME", help="class of all boxes (default: the model predicts it)"
    )
    prompts.add_argument(
        "--correct-boxes",
        type=float,
        default=0.0,
        metavar="IOU",
        help="for loose boxes, not oriented ones: use the box head's regression wherever its IoU with the box is below "
        "this; 0 never, 1 always (default: %(default)s)",
    )
    results = parser.add_argument_group("results")
    results.add_argument("--output", required=True, metavar="DIR", help="folder for predictions.json and overlays/")
    results.add_argument(
        "--score-threshold",
        type=float,
        metavar="S",
        help="lowest score of an instance found without prompts, 0 to 1 (default: the model's, or 0.5 for a config)",
    )
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from insight.inference.files import find_images, predict_files
    from insight.runtime.outputs import check_output_folder

    output = check_output_folder(args.output)
    images = find_images(args.images)
    prompts = _prompts(args)
    if args.correct_boxes and not _has_boxes(prompts):
        raise InputError("correct_boxes: expected boxes to correct: --boxes, or --boxes-json with 4 numbers per box")
    predictor, settings = _predictor(args, prompts is not None)
    answered, failures = predict_files(predictor, images, output, prompts, settings)
    without = f", without {len(failures)} that failed" if failures else ""
    if answered or not failures:
        print(f"wrote {output}/predictions.json and the pictures in {output}/overlays{without}")
    for reason in failures.values():
        print_error(reason)
    if len(failures) > 1 and not answered:
        print_error(f"all {len(failures)} images failed; nothing was written to {output}, earlier results stay")
    return 1 if failures else 0


def _predictor(args: argparse.Namespace, prompted: bool):
    """The file predictor of a command line, and everything that its answers depend on."""
    from insight.hub import DEFAULT_DETECTOR, DEFAULT_SOPSEG
    from insight.inference.file_predictor import build_file_predictor, to_file_predictor
    from insight.inference.score_threshold import check_score_threshold
    from insight.inference.sopseg_predictor import SOPSegPredictor
    from insight.runtime.digests import file_digest

    detects = not prompted or args.given_class is not None or args.correct_boxes
    model = chosen_model(args, DEFAULT_DETECTOR if detects else DEFAULT_SOPSEG)
    if model is not None:
        print(f"model: {model.name}, {model.path}", flush=True)
    threshold = args.score_threshold
    if threshold is None:
        threshold = 0.5 if model is None else model.score_threshold
    check_score_threshold(threshold)
    settings = {"insight": __version__, "class": args.given_class, "correct_boxes": args.correct_boxes}
    if model is not None and model.kind == "sopseg" and not args.opts:  # needs no Detectron2
        options = (prompted, args.given_class, args.correct_boxes)
        predictor = to_file_predictor(SOPSegPredictor.from_pretrained(model, args.device or None), *options)
        return predictor, settings | {"config": None, "weights": [model.sha256]}
    args.opts = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", threshold, *args.opts]
    args.model = "" if model is None else str(model.path)
    cfg = config_of(args)
    predictor = build_file_predictor(cfg, prompted, args.given_class, args.correct_boxes)
    branch = cfg.MODEL.SOPSEG_BRANCH
    weights = [path for path in (cfg.MODEL.WEIGHTS, branch.WEIGHTS if branch.ENABLED else "") if path]
    return predictor, settings | {"config": cfg.dump(), "weights": [file_digest(path) for path in weights]}


def _prompts(args: argparse.Namespace):
    from insight.inference.prompt_files import parse_boxes, read_boxes

    if not args.boxes and not args.oriented_boxes:
        return read_boxes(args.boxes_json) if args.boxes_json else None
    if args.boxes_json:
        raise InputError("boxes_json: not allowed together with --boxes and --oriented-boxes")
    return parse_boxes(args.boxes, args.oriented_boxes)


def _has_boxes(prompts) -> bool:
    """Whether a horizontal box is among the prompts."""
    groups = prompts.values() if isinstance(prompts, dict) else [prompts] if prompts is not None else []
    return any(len(group.boxes) for group in groups)
