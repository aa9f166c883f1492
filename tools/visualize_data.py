#!/usr/bin/env python
"""Draw the ground truth of a data set, as it is on disk or as training sees it, to PNG files."""

import argparse

from insight.cli.reporting import reports_errors
from insight.config import load_config
from insight.data.bad_options import add_bad_options_over_config, bad_overrides
from insight.data.datasets import register_from_config, require_registered
from insight.runtime.outputs import output_folder
from insight.visualization.dataset_pictures import draw_dataset


def arguments() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: visualize_data.py --dataset nwpu_vhr10_train --count 8 --output pictures",
    )
    parser.add_argument("--dataset", metavar="NAME", help="registered data set; default: the first of DATASETS.TRAIN")
    parser.add_argument("--config-file", default="", metavar="FILE", help="config whose data sets and INPUT keys count")
    parser.add_argument(
        "--augmented", action="store_true", help="draw training samples after augmentation and resizing"
    )
    parser.add_argument("--count", type=int, default=20, help="pictures to draw; 0 for all (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images and of the augmentations")
    parser.add_argument("--scale", type=int, default=0, help="enlargement; 0: by the size of the image (default)")
    parser.add_argument(
        "--output", type=output_folder, default="output/visualize_data", metavar="DIR", help="folder for the pictures"
    )
    add_bad_options_over_config(parser)
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    return parser


@reports_errors
def main() -> None:
    """Run the command."""
    args = arguments().parse_args()
    # No model runs, so that nothing need be said of its device.
    cfg = load_config(args.config_file, ["MODEL.DEVICE", "cpu", *args.opts, *bad_overrides(args)])
    register_from_config(cfg)
    name = args.dataset or next(iter(cfg.DATASETS.TRAIN), None)
    if name is None:
        raise ValueError("no data set: give --dataset NAME, or a --config-file with DATASETS.TRAIN")
    require_registered([name], "--dataset" if args.dataset else "DATASETS.TRAIN")
    paths = draw_dataset(
        cfg, name, args.output, count=args.count, augmented=args.augmented, seed=args.seed, scale=args.scale
    )
    print(f"{len(paths)} pictures in {args.output}")


if __name__ == "__main__":
    main()
