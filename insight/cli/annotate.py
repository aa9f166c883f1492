"""`insight annotate`."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from insight.annotation.filters import REASONS, Filters
from insight.annotation.format_names import LAYER_SUFFIXES, check_box_source, parse_exports
from insight.errors import InputError
from insight.hub import DEFAULT_SOPSEG
from insight.runtime.file_names import with_name
from insight.runtime.inputs import check_input
from insight.runtime.locks import check_unlocked
from insight.runtime.outputs import check_output_folder
from insight.runtime.words import counted

from .options import SAME_COMMAND, add_bad_options, add_command, add_device, check_model, chosen_model, integer
from .reporting import print_error

_MEANINGS = {
    "min_score": "lowest predicted IoU",
    "min_in_box": "smallest share of the mask inside its box, 0 to 1",
    "min_area_ratio": "smallest area of the mask, as a multiple of its box's",
    "max_area_ratio": "largest area of the mask, as a multiple of its box's",
    "min_largest_part": "smallest share of the mask in its largest part, 0 to 1",
}
# Which bound a reason is about.
_BOUNDS = {
    "score": "min_score",
    "in_box": "min_in_box",
    "small": "min_area_ratio",
    "large": "max_area_ratio",
    "scattered": "min_largest_part",
}


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "annotate",
        run,
        "Turn boxes into masks with SOPSeg or SAM: a dataset at once, or object by object in the browser",
        (
            "annotate dota/train --output masks",
            "annotate boxes.json --images images/ --weights sam_vit_l.pth --output masks --classes ship plane",
            "annotate dota/train --output masks --to yolo-seg,label-studio",
            "annotate berths.gpkg --images scene.tif --output masks --to gpkg",
            "annotate dota/train --output masks --review masks/review.csv",
            "annotate --ui images/",
            "annotate --ui dota/train --output masks",
            "annotate --ui boxes.json --images images/ --classes ship",
        ),
        "Writes instances.json (COCO), review.csv and report.md. A stopped run resumes where it left off;\n"
        "decisions that you change in review.csv are applied with --review.\n"
        "--ui opens a page on which boxes are drawn and masks corrected; boxes that SOURCE has are its candidates.\n"
        "Masks are kept in .insight/annotations.sqlite in the folder of the images, and in DIR with --output.",
    )
    parser.continues = SAME_COMMAND
    parser.add_argument(
        "boxes",
        metavar="SOURCE",
        help="folder of DOTA (images/, labelTxt/), SODA-A (Images/, Annotations/) or YOLO-OBB (images/, labels/); a "
        "COCO .json file, whose annotations may have an oriented_box; or a vector layer (.gpkg, .geojson, ...)",
    )
    parser.add_argument(
        "--images", dest="image_root", metavar="DIR", help="folder of the images of a COCO file or a vector layer"
    )
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="classes to annotate (default: all)")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default="",
        metavar="NAME",
        help="name or folder of a SOPSeg model, see `insight models` (default: sopseg-vit-t)",
    )
    model.add_argument(
        "--weights", default="", metavar="FILE", help="checkpoint of SOPSeg, SAM or MobileSAM, instead of --model"
    )
    model.add_argument(
        "--input-size",
        type=integer(64, 1024, step=64),
        metavar="PIXELS",
        help="side of the crop of an object, a multiple of 64 (default: the model's; of a checkpoint 256, or 512 with "
        "SAM's decoder)",
    )
    model.add_argument(
        "--prompt",
        choices=("oriented_box", "box"),
        help="prompt with oriented boxes, or with the horizontal boxes around them (default: the model's; of a "
        "checkpoint, box for SAM and MobileSAM, oriented_box for SOPSeg)",
    )
    add_device(model, "cuda if there is a GPU")
    model.add_argument(
        "--bf16",
        action="store_true",
        help="compute in bfloat16: faster where the CPU supports it; masks differ slightly at their edges",
    )
    results = parser.add_argument_group("results")
    results.add_argument("--output", metavar="DIR", help="output folder; required except with --ui")
    results.add_argument(
        "--to",
        default="coco",
        metavar="FORMAT,...",
        help="further formats of the masks: yolo-seg, yolo-obb, dota, soda-a, labelme, label-studio, cvat, or, for "
        "georeferenced images, gpkg, geojson, fgb, parquet, shp (default: coco alone)",
    )
    results.add_argument("--review", metavar="FILE", help="apply the decisions in this file to the masks in DIR")
    page = parser.add_argument_group("page")
    page.add_argument("--ui", action="store_true", help="annotate the images of SOURCE in the browser")
    page.add_argument("--port", type=integer(1, 65535), metavar="N", help="port of the page (default: 8000)")
    page.add_argument("--no-browser", action="store_true", help="print the page's address without opening it")
    filters = parser.add_argument_group("filters", "masks outside these bounds are dropped")
    for field in fields(Filters):
        option = "--" + field.name.replace("_", "-")
        meaning = f"{_MEANINGS[field.name]} (default: {field.default})"
        filters.add_argument(option, dest=field.name, type=float, metavar="X", help=meaning)
    add_bad_options(
        parser,
        "leave out bad images and boxes, with warnings",
        "default: leave it out and end with exit code 1",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.ui:
        _open_page(args)
        return 0
    if args.output is None:
        raise InputError("output: expected a folder; --output sets it")
    if args.port is not None or args.no_browser:
        raise InputError("port: --port and --no-browser are of the page; add --ui")
    output = check_output_folder(args.output)
    check_unlocked(output)
    formats = parse_exports(args.to)
    bounds = {f.name: value for f in fields(Filters) if (value := getattr(args, f.name)) is not None}
    if args.review and bounds:
        raise InputError(f"review: replaces the filters, so leave out {', '.join(map(_option, bounds))}")
    filters = Filters(**bounds)
    check_model(args, DEFAULT_SOPSEG, "sopseg")
    _check_inputs(args)
    check_box_source(args.boxes, args.image_root)

    from insight.annotation.conversion import images_in
    from insight.annotation.exports import check_exports, export
    from insight.annotation.review import Review
    from insight.annotation.run import annotate, apply_review, check_decisions
    from insight.annotation.sources import open_source, require_images

    review = Review(args.review) if args.review else None
    source = open_source(args.boxes, args.image_root, args.classes, strict=args.strict)
    check_exports(formats, source)
    if review is not None:
        statistics = apply_review(source, review, output)
    else:
        check_decisions(output)
        require_images(source, args.boxes)
        statistics = annotate(source, _segmenter(args), filters, output)
    kept, dropped = statistics.count("kept"), statistics.count("dropped")
    print(f"kept {counted(kept, 'mask')}, dropped {dropped}: {output}/instances.json; see {output}/report.md")
    print(f"change decisions in {output}/review.csv and apply them with --review")
    image_root = Path(args.image_root) if args.image_root else images_in(Path(args.boxes))
    exported = export(output, formats, image_root) if source.categories else {}  # none if no label file can be read
    for name, done in exported.items():
        losses = "".join(f", {what}: {count}" for what, count in done.losses.items())
        print(f"wrote {output}/{name}{losses}")
    for failure in _failures(source):
        if args.skip_bad:
            print(f"warning: {failure}", file=sys.stderr)
        else:
            print_error(failure)
    none_kept = not kept and not args.review
    if none_kept:
        print_error(f"no mask was kept: {_why_none(statistics.reasons, dropped)}")
    return 1 if none_kept or (source.failures and not args.skip_bad) else 0


def _check_inputs(args: argparse.Namespace) -> None:
    check_input(args.boxes, kind="file or folder")
    if args.image_root:
        check_input(args.image_root, "image_root", "file or folder")
    if args.review:
        check_input(args.review, "review")


def _open_page(args: argparse.Namespace) -> None:
    """Serve the images of a source, and open the page."""
    from .serve import default_models, server

    unused = ("weights", "input_size", "prompt", "bf16", "review", *_filter_names())
    given = [_option(name) for name in unused if getattr(args, name)]
    given += ["--to"] if args.to != "coco" else []
    if given:
        raise InputError(f"ui: {given[0]} is not of the page; leave it out")
    _check_inputs(args)
    if args.output:
        check_output_folder(args.output)
    check_model(args, DEFAULT_SOPSEG, "sopseg")
    models = default_models()
    if args.model:
        models = [args.model, *(name for name in models if name != DEFAULT_SOPSEG)]

    serve = server("ui")

    from insight.serving.settings import Settings

    boxes = _boxes_of_page(args)
    settings = Settings(
        sources=[args.boxes if boxes is None or args.image_root is None else args.image_root],
        models=models,
        device=args.device or None,
        port=args.port or 8000,
        results=Path(args.output) if args.output else None,
        boxes=boxes,
    )
    serve(settings, open_browser=not args.no_browser)


def _boxes_of_page(args: argparse.Namespace):
    """The source of boxes, or None for images alone."""
    from insight.annotation.sources import open_source, require_images
    from insight.data.formats.oriented import has_oriented

    has_boxes = Path(args.boxes).suffix.lower() in (".json", *LAYER_SUFFIXES) or has_oriented(args.boxes)
    if not has_boxes:
        if args.image_root or args.classes:
            option = "images" if args.image_root else "classes"
            raise InputError(f"ui: {_option(option)} goes with boxes, and {args.boxes} has none; leave it out")
        return None
    source = open_source(args.boxes, args.image_root, args.classes, strict=args.strict)
    require_images(source, args.boxes)
    for failure in _failures(source):
        print(f"warning: {failure}", file=sys.stderr)
    return source


def _failures(source) -> list[str]:
    """A line for each image or label that could not be used."""
    return [with_name(name, reason) for name, reason in source.failures.items()]


def _filter_names() -> list[str]:
    return [field.name for field in fields(Filters)]


def _segmenter(args: argparse.Namespace):
    """The model of a command line."""
    import torch

    from insight.annotation.segmentation import SOPSegSegmenter
    from insight.runtime.machine import parse_device

    model = chosen_model(args, DEFAULT_SOPSEG)
    weights, size, prompt = args.weights, args.input_size, args.prompt
    if model is not None:
        weights, keys = model.weights, model.architecture
        size, prompt = size or keys.input_size, prompt or keys.prompt
        print(f"model: {model.name}, {model.path}", flush=True)
    dtype = torch.bfloat16 if args.bf16 else torch.float32
    return SOPSegSegmenter(weights, size, parse_device(args.device), dtype, prompt)


def _why_none(reasons, dropped: int) -> str:
    if not dropped:
        return "the source has no box of these classes in an image that can be used"
    reason, count = reasons.most_common(1)[0]
    advice = f"; {_option(_BOUNDS[reason])} sets the bound" if reason in _BOUNDS else ""
    return f"dropped {count} of {dropped} because {REASONS[reason]}{advice}"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
