"""Shared by the commands about a registered dataset."""

import argparse

from ..options import add_config, add_overrides, config_of
from ..parser import Parser


def add_dataset(parser: Parser, **options) -> None:
    """Add the name of a dataset, and the config that may register it."""
    parser.add_argument(
        "dataset", metavar="NAME", **{"help": "registered dataset, or one of DATASETS.COCO of the config", **options}
    )
    add_config(parser, required=False, purpose="datasets")
    add_overrides(parser)


def dataset_config(args: argparse.Namespace):
    """Return the config, and register its datasets."""
    return config_of(args, ["MODEL.DEVICE", "cpu"])  # no model runs, so no warning about its device
