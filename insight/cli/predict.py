"""`insight predict`."""

import argparse
import glob
from pathlib import Path
from typing import Any

from insight.annotation.format_names import VECTOR_SUFFIXES
from insight.errors import InputError
from insight.hub import DEFAULT_DETECTOR, DEFAULT_SOPSEG
from insight.inference.prompt_text import HORIZONTAL, ORIENTED, box_numbers
from insight.inference.score_threshold import check_score_threshold
from insight.runtime.inputs import check_input
from insight.runtime.locks import check_unlocked
from insight.runtime.outputs import check_output_file, check_output_folder
from insight.runtime.words import counted
from insight.version import __version__

from .options import SAME_COMMAND, add_command, add_model, add_overrides, check_model, chosen_model, config_of, integer
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
            "predict a.png --weights sam_vit_b_01ec64.pth --boxes 10,20,50,60 --output sam",
            "predict images/ --config-file output/light/config.yaml --weights output/light/model_final.pth "
            "--output mine",
            "predict port.tif --output found.gpkg",
            "predict port.tif --boxes berths.gpkg --output ships.gpkg",
            "predict scenes/ --model scenes-light --to gpkg --output found",
        ),
        "Without a model, the shipped scenes-light detects, and the shipped sopseg-vit-t segments boxes. To segment\n"
        "boxes with a checkpoint of SAM, MobileSAM or SOPSeg, --weights alone will do.\n"
        "Writes predictions.json (COCO) and a picture of each image; or, if the output is a vector file, the polygons\n"
        "of one raster of any size, and with --to those of many in a folder. A stopped run resumes where it left off.",
    )
    parser.sources = "images"
    parser.continues = SAME_COMMAND
    parser.add_argument("images", nargs="+", metavar="SOURCE", help="image files, folders or glob patterns")
    model = parser.add_argument_group("model")
    add_model(model, "sopseg-vit-t for boxes, scenes-light without")
    prompts = parser.add_argument_group("prompts", "without prompts, the model detects objects by itself")
    prompts.add_argument(
        "--boxes",
        action="append",
        default=[],
        metavar="X1,Y1,X2,Y2",
        help="a box in every image, pixels; repeatable. For a vector file as output also one layer of polygons, "
        "oriented boxes or points in any CRS",
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
    results.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="folder for predictions.json and overlays/; or a vector file: .gpkg .geojson .fgb .parquet .shp",
    )
    results.add_argument(
        "--score-threshold",
        type=float,
        metavar="S",
        help="lowest score of an instance found without prompts, 0 to 1 (default: the model's, or 0.5 for a config)",
    )
    rasters = parser.add_argument_group("rasters", "where the output is a vector file, or with --to")
    rasters.add_argument(
        "--to",
        choices=[suffix[1:] for suffix in VECTOR_SUFFIXES],
        help="write a vector file for each raster to the folder",
    )
    rasters.add_argument(
        "--tile-size", type=integer(1), default=1024, metavar="N", help="pixels (default: %(default)s)"
    )
    rasters.add_argument(
        "--overlap", type=integer(1), metavar="N", help="of neighbouring tiles, pixels (default: 256, or half a tile)"
    )
    rasters.add_argument("--bands", metavar="R,G,B", help="bands by number from 1 or by name, three or one")
    rasters.add_argument(
        "--rescale",
        metavar="LOW,HIGH",
        help="values that become 0 and 255, or the .run.json of an earlier result (default: 8 bits unchanged, "
        "others by the scene's 2nd and 98th percentiles)",
    )
    rasters.add_argument(
        "--gsd",
        type=float,
        metavar="M",
        help="resample to this many metres per pixel (default: the raster's own, or the nearest in a detector's range)",
    )
    rasters.add_argument(
        "--simplify",
        type=float,
        default=0.0,
        metavar="P",
        help="move outlines by up to this many pixels for fewer corners",
    )
    rasters.add_argument("--regularize", action="store_true", help="straighten outlines, as of buildings")
    rasters.add_argument(
        "--also",
        default="",
        metavar="NAME,...",
        help="files beside the output: labels and scores (cloud-optimised GeoTIFFs), stac (a STAC item)",
    )
    rasters.add_argument("--workers", type=integer(1), default=1, metavar="N", help="processes (default: %(default)s)")
    rasters.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="what runs the processes (default: %(default)s)"
    )
    rasters.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster (default: one on this machine)")
    parser.set_defaults(raster_options=[action.dest for action in rasters._group_actions])
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if _writes_vectors(args):
        return _predict_rasters(args)
    output = check_output_folder(args.output, or_files=VECTOR_SUFFIXES)
    check_unlocked(output)
    _check_options(args)

    from insight.data.formats.image_folders import find_images

    images = find_images(args.images)

    from insight.inference.file_predictor import to_file_predictor
    from insight.inference.files import predict_files, unusable_images

    prompts = _prompts(args)
    if args.correct_boxes and not _has_boxes(prompts):
        raise InputError("correct_boxes: expected boxes to correct: --boxes, or --boxes-json with 4 numbers per box")
    answered, failures = 0, unusable_images(images, prompts, args.boxes_json or "prompts")
    if not failures:
        model, settings = _predictor(args, prompts is not None)
        predictor = to_file_predictor(model, prompts is not None, args.given_class, args.correct_boxes)
        answered, failures = predict_files(predictor, images, output, prompts, settings)
    without = f", without {len(failures)} that failed" if failures else ""
    if answered or not failures:
        print(f"wrote {output}/predictions.json and the pictures in {output}/overlays{without}")
    for reason in failures.values():
        print_error(reason)
    if len(failures) > 1 and not answered:
        print_error(f"all {len(failures)} images failed; nothing was written to {output}, earlier results stay")
    return 1 if failures else 0


def _writes_vectors(args: argparse.Namespace) -> bool:
    return bool(args.to) or Path(args.output).suffix.lower() in VECTOR_SUFFIXES


def _layer_file(text: str) -> str | None:
    """The file that --boxes names, which may be missing; None for the numbers of a box."""
    file = text.split("|layername=")[0]
    return file if Path(file).suffix[1:].isalpha() or Path(file).is_file() else None


def _check_options(args: argparse.Namespace) -> None:
    for text in args.boxes:
        file = _layer_file(text)
        if file is None:
            box_numbers(text, "boxes", HORIZONTAL)
            continue
        check_input(file, "boxes")
        if len(args.boxes) > 1 or args.oriented_boxes:
            raise InputError("boxes: a layer holds all prompts; leave other boxes out")
        if not _writes_vectors(args):
            raise InputError(f"boxes: with the layer {file}, {_wanted_vectors(args)}")
    for text in args.oriented_boxes:
        box_numbers(text, "oriented_boxes", ORIENTED)
    if args.boxes_json and (args.boxes or args.oriented_boxes):
        raise InputError("boxes_json: not allowed together with --boxes and --oriented-boxes")
    if args.boxes_json:
        check_input(args.boxes_json, "boxes_json")
    if args.score_threshold is not None:
        check_score_threshold(args.score_threshold)
    given = [name for name in args.raster_options if getattr(args, name) != args.parser.get_default(name)]
    if given and not _writes_vectors(args):
        raise InputError(f"{given[0]}: is for rasters; {_wanted_vectors(args)}")
    check_model(args, DEFAULT_SOPSEG, needs_config=_needs_config(args))


def _wanted_vectors(args: argparse.Namespace) -> str:
    suffixes = " ".join(VECTOR_SUFFIXES)
    return f"expected a vector file as --output ({suffixes}), or --to and a folder, got {args.output}"


def _needs_config(args: argparse.Namespace) -> bool:
    """Whether --weights needs --config-file: not for boxes alone, which a checkpoint of SAM or SOPSeg segments."""
    prompted = args.boxes or args.oriented_boxes or args.boxes_json
    return not prompted or args.given_class is not None or bool(args.correct_boxes or args.opts)


def _predict_rasters(args: argparse.Namespace) -> int:
    """Write the polygons of a raster, or of many."""
    source = args.images[0]
    if not args.to and (len(args.images) > 1 or (not Path(source).is_file() and glob.glob(source))):
        raise InputError(
            f"output: {args.output} is for the polygons of one raster; for many, name a folder and a format: "
            "--to gpkg --output FOLDER"
        )
    if args.to and Path(args.output).suffix.lower() in VECTOR_SUFFIXES:
        raise InputError(f"output: expected a folder with --to, got {args.output}; leave --to out for one raster")
    if args.given_class is not None or args.correct_boxes:
        raise InputError("output: --class and --correct-boxes are for images; name a folder as output, without --to")
    if args.to:
        check_output_folder(args.output)
    else:
        check_output_file(args.output)
    _check_options(args)

    from insight.data.formats.image_folders import find_images
    from insight.geo.options import RasterOptions
    from insight.geo.raster import SUFFIXES, Raster

    opening = {name: getattr(args, name) for name in ("bands", "rescale", "gsd")}
    options = {name: getattr(args, name) for name in ("tile_size", "overlap", "simplify", "regularize")}
    RasterOptions(**opening, **options)  # fails before torch is imported
    rasters = find_images(args.images, SUFFIXES)
    raster = None if args.to else Raster(rasters[0], **opening)  # fails before a model is read

    from insight.geo.companions import check_companions, parse_companions, write_companions
    from insight.geo.engines import check_engine
    from insight.geo.predict import predict_raster, prompts_of, suited
    from insight.geo.predict_many import check_rasters, predict_rasters
    from insight.geo.scene_run import UNFINISHED

    also = parse_companions(args.also)
    check_engine(args.engine, args.workers, args.address)
    prompts = _raster_prompts(args, raster)
    options |= prompts
    if raster is None:
        check_rasters(rasters, RasterOptions(**opening, **options), also)
    else:
        check_unlocked(f"{args.output}{UNFINISHED}")
        check_companions(also, raster)
        prompts_of(raster, RasterOptions(**options))
    engine = {name: getattr(args, name) for name in ("workers", "engine", "address")}
    model, _ = _predictor(args, bool(prompts))
    if raster is not None:
        raster = suited(raster, model, args.rescale)
        predict_raster(raster, model, output=args.output, **engine, **options)
        for path in (args.output, *write_companions(args.output, raster, also)):
            print(f"wrote {path}")
        return 0
    to = {"suffix": f".{args.to}", "also": also, **engine}
    done = predict_rasters(rasters, model, args.output, **to, **opening, **options)
    for path in done.written:
        print(f"wrote {path}")
    if done.already:
        print(f"kept {counted(len(done.already), 'file')} that an earlier run has written")
    for reason in done.failures.values():
        print_error(reason)
    return 1 if done.failures else 0


def _raster_prompts(args: argparse.Namespace, raster) -> dict[str, Any]:
    """The prompts among the arguments of `predict_raster`. A layer is read at once where there is one raster."""
    from insight.geo.prompts import prompts_on

    if args.boxes and _layer_file(args.boxes[0]) is not None:
        return {"prompts": args.boxes[0] if raster is None else prompts_on(raster, args.boxes[0])}
    given = _prompts(args)
    if isinstance(given, dict):
        raise InputError("boxes_json: expected one list of boxes for all rasters, got lists by image file name")
    named = {} if given is None else {"boxes": given.boxes, "oriented_boxes": given.corners}
    return {name: boxes for name, boxes in named.items() if len(boxes)}


def _predictor(args: argparse.Namespace, prompted: bool):
    """The predictor of a command line, and everything that its answers depend on."""
    from insight.config import is_sopseg
    from insight.inference.build import build_predictor
    from insight.inference.file_predictor import check_options
    from insight.inference.sopseg_predictor import SOPSegPredictor
    from insight.runtime.digests import file_digest

    detects = not prompted or args.given_class is not None or args.correct_boxes
    model = chosen_model(args, DEFAULT_DETECTOR if detects else DEFAULT_SOPSEG, _needs_config(args))
    if model is not None:
        print(f"model: {model.name}, {model.path}", flush=True)
    threshold = args.score_threshold
    if threshold is None:
        threshold = 0.5 if model is None else model.score_threshold
    options = (prompted, args.given_class, args.correct_boxes)
    settings = {"insight": __version__, "class": args.given_class, "correct_boxes": args.correct_boxes}
    if model is not None and model.kind == "sopseg" and not args.opts:  # needs no Detectron2
        check_options(True, *options)
        predictor = SOPSegPredictor.from_pretrained(model, args.device or None)
        return predictor, settings | {"config": None, "weights": [model.sha256]}
    if model is None and not args.config_file:
        check_options(True, *options)
        return _of_checkpoint(args), settings | {"config": None, "weights": [file_digest(args.weights)]}
    args.opts = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", threshold, *args.opts]
    args.model = "" if model is None else str(model.path)
    cfg = config_of(args)
    check_options(is_sopseg(cfg), *options, model and model.class_names)  # before the weights are read
    branch = cfg.MODEL.SOPSEG_BRANCH
    weights = [path for path in (cfg.MODEL.WEIGHTS, branch.WEIGHTS if branch.ENABLED else "") if path]
    settings |= {"config": cfg.dump(), "weights": [file_digest(path) for path in weights]}
    predictor = build_predictor(cfg)
    if not isinstance(predictor, SOPSegPredictor) and model is not None:
        predictor.gsd = model.gsd
    return predictor, settings


def _of_checkpoint(args: argparse.Namespace):
    """The predictor of a checkpoint of SAM or SOPSeg, which says itself what it holds."""
    from insight.inference.sopseg_predictor import SOPSegPredictor
    from insight.modeling.sopseg.checkpoint import OtherModelError
    from insight.runtime.machine import parse_device

    try:
        return SOPSegPredictor(args.weights, device=parse_device(args.device))
    except OtherModelError as error:
        raise InputError(
            f"weights: {error}; a detector needs the config that it was trained with, as --config-file"
        ) from error


def _prompts(args: argparse.Namespace):
    from insight.inference.prompt_files import parse_boxes, read_boxes

    if args.boxes or args.oriented_boxes:
        return parse_boxes(args.boxes, args.oriented_boxes)
    if not args.boxes_json:
        return None
    prompts = read_boxes(args.boxes_json)
    if not any(len(group.boxes) + len(group.corners) for group in _groups(prompts)):
        raise InputError(f"boxes_json: {args.boxes_json} holds no box; leave it out to detect objects")
    return prompts


def _groups(prompts) -> list:
    """The boxes of all images, or of each."""
    return list(prompts.values()) if isinstance(prompts, dict) else [prompts] if prompts is not None else []


def _has_boxes(prompts) -> bool:
    """Whether a horizontal box is among the prompts."""
    return any(len(group.boxes) for group in _groups(prompts))
