"""`insight data show`."""

import argparse

from insight.errors import InputError
from insight.runtime.outputs import check_output_folder

from ..options import add_bad_options_over_config, add_command, integer
from .common import add_dataset, dataset_config


def add_parser(tasks) -> None:
    """Add the command."""
    parser = add_command(
        tasks,
        "show",
        run,
        "Draw the ground truth of a dataset, as it is on disk or as training sees it",
        (
            "data show nwpu_vhr10_train --count 8 --output pictures",
            "data show --augmented --config-file nwpu_light",
        ),
    )
    add_dataset(parser, nargs="?", help="registered dataset (default: the first of DATASETS.TRAIN of the config)")
    parser.add_argument(
        "--augmented", action="store_true", help="draw training samples after augmentation and resizing"
    )
    parser.add_argument(
        "--count", type=integer(0), default=20, metavar="N", help="pictures; 0 for all images (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=integer(0),
        default=0,
        metavar="K",
        help="seed of the choice of images and of the augmentations (default: %(default)s)",
    )
    parser.add_argument(
        "--scale", type=integer(0), default=0, metavar="K", help="enlargement; 0: by the image's size (the default)"
    )
    parser.add_argument(
        "--output", default="output/data", metavar="DIR", help="folder for the pictures (default: %(default)s)"
    )
    add_bad_options_over_config(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    output = check_output_folder(args.output)
    cfg = dataset_config(args)

    from insight.data.datasets import require_registered
    from insight.visualization.dataset_pictures import draw_dataset

    name = args.dataset or next(iter(cfg.DATASETS.TRAIN), None)
    if name is None:
        raise InputError("name: expected a dataset, or a --config-file with DATASETS.TRAIN")
    require_registered([name], "name" if args.dataset else "DATASETS.TRAIN")
    paths = draw_dataset(
        cfg, name, output, count=args.count, augmented=args.augmented, seed=args.seed, scale=args.scale
    )
    print(f"wrote {len(paths)} pictures to {output}")
