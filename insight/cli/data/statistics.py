"""`insight data statistics`."""

import argparse

from ..options import add_bad_options_over_config, add_command
from .common import add_dataset, dataset_config


def add_parser(tasks) -> None:
    """Add the command."""
    parser = add_command(
        tasks,
        "statistics",
        run,
        "Count the images and objects of a dataset and their sizes, class by class",
        (
            "data statistics nwpu_vhr10_val",
            "data statistics mine --config-file mine.yaml",
        ),
    )
    add_dataset(parser)
    add_bad_options_over_config(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    dataset_config(args)

    from insight.data.inspection.statistics import describe_dataset

    print(describe_dataset(args.dataset))
