"""`insight data town`."""

import argparse

from insight.runtime.outputs import check_output_file
from insight.runtime.words import counted

from ..options import add_command, integer


def add_parser(tasks) -> None:
    """Add the task."""
    parser = add_command(
        tasks,
        "town",
        run,
        "Draw a town of any size as a GeoTIFF, with the polygon of every object",
        ("data town town.tif --size 4000",),
        "Writes the raster and, next to it, NAME_truth.gpkg. The same seed and size give the same bytes.",
    )
    parser.add_argument("output", metavar="FILE", help="the .tif file to write")
    parser.add_argument(
        "--size", type=integer(1), default=4000, metavar="N", help="side, pixels (default: %(default)s)"
    )
    parser.add_argument("--seed", type=integer(0), default=0, metavar="N", help="seed (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Run the task."""
    check_output_file(args.output, suffixes=(".tif", ".tiff"))

    from insight.geo.town import truth_path, write_town

    objects = write_town(args.output, args.size, args.seed)
    print(f"wrote {args.output} and {counted(objects, 'object')} to {truth_path(args.output)}")
