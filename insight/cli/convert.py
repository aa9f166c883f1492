"""`insight convert`."""

import argparse

from insight.annotation.format_names import READABLE, WRITABLE, format_by_suffix
from insight.runtime.inputs import check_input
from insight.runtime.words import counted

from .options import add_command


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        run,
        "Convert annotations: COCO, YOLO, DOTA, SODA-A, Pascal VOC, LabelMe, Label Studio, CVAT, vector layers",
        (
            "convert dota/train boxes.json",
            "convert masks/instances.json yolo --to yolo-seg --images dota/train/images",
            "convert masks/instances.json masks.gpkg --images scenes/",
            "convert buildings.gpkg instances.json --images scene.tif",
        ),
        "Prints what the output format cannot hold, with the number of objects.",
    )
    parser.add_argument("source", metavar="SOURCE", help="file or folder of annotations")
    parser.add_argument("output", metavar="OUTPUT", help="file or new folder")
    parser.add_argument(
        "--from", dest="source_format", choices=READABLE, help="format of the source (default: by its files)"
    )
    parser.add_argument(
        "--to",
        dest="target_format",
        choices=WRITABLE,
        help="format of the output (default: by its suffix: .json COCO, .xml CVAT, .gpkg .geojson .fgb .parquet .shp "
        "a vector layer)",
    )
    parser.add_argument(
        "--images",
        dest="image_root",
        metavar="DIR",
        help="folder of the images (default: the one in the source); for a vector layer as source also one image",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if "|layername=" not in args.source:
        check_input(args.source, kind="file or folder")
    if args.image_root is not None:
        check_input(args.image_root, "images", "file or folder")
    if args.target_format is None:
        format_by_suffix(args.output)

    from insight.annotation.conversion import convert

    done = convert(
        args.source,
        args.output,
        source_format=args.source_format,
        target_format=args.target_format,
        image_root=args.image_root,
    )
    what = f"{counted(done.objects, 'object')} of {counted(done.images, 'image')}"
    print(f"wrote {what} from {done.source_format} as {done.target_format}: {args.output}")
    for what, count in done.losses.items():
        print(f"  {what}: {count}")
    return 0
