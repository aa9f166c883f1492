"""`insight map`."""

import argparse

from insight.runtime.inputs import check_input
from insight.runtime.outputs import check_output_file
from insight.runtime.words import counted

from .options import add_command, integer


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "map",
        run,
        "Write one HTML page with a picture of a scene and the polygons over it",
        (
            "map found.gpkg scene.tif --output map.html",
            "map buildings.geojson scene.tif --bands 4,3,2 --output map.html",
        ),
        "Classes with a legend, a filter by score, attributes on a click. The page needs no network and no server.",
    )
    parser.add_argument(
        "layer", metavar="LAYER", help="polygons in any CRS: .gpkg, .geojson, .fgb, .parquet, .shp, ..."
    )
    parser.add_argument("raster", metavar="SCENE", help="the raster that they lie on")
    parser.add_argument("--output", "-o", required=True, metavar="FILE", help="the .html file")
    parser.add_argument("--title", metavar="TEXT", help="heading (default: the raster's name)")
    parser.add_argument(
        "--picture-size",
        type=integer(64, 16384),
        default=2048,
        metavar="PIXELS",
        help="long side of the picture (default: %(default)s)",
    )
    parser.add_argument("--bands", metavar="R,G,B", help="bands to show, by number from 1 or by name")
    parser.add_argument("--rescale", metavar="LOW,HIGH", help="values that become black and white")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_output_file(args.output, suffixes=(".html", ".htm"))
    check_input(args.layer.partition("|layername=")[0])
    check_input(args.raster, kind="raster")

    from insight.geo.map_page import write_map
    from insight.geo.raster import Raster

    raster = Raster(args.raster, args.bands, args.rescale)
    shown = write_map(args.layer, raster, args.output, title=args.title, picture_size=args.picture_size)
    rows = counted(shown.outside, "row")
    left_out = f", without {rows} outside the scene or without a polygon" if shown.outside else ""
    print(f"wrote {args.output}: {counted(shown.objects, 'object')}, {shown.megabytes:.1f} MB{left_out}")
