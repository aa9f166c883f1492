"""`insight data check`."""

import argparse

from insight.runtime.words import counted

from ..options import add_bad_options, add_command
from .common import add_dataset, dataset_config


def add_parser(tasks) -> None:
    """Add the command."""
    parser = add_command(
        tasks,
        "check",
        run,
        "Check a dataset file by file; exit code 1 if anything is missing or wrong",
        (
            "data check nwpu_vhr10_val",
            "data check mine --skip-bad --config-file mine.yaml",
        ),
    )
    add_dataset(parser)
    add_bad_options(parser, "exit code 1 only for what DATASETS.BAD skip cannot leave out")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    skips = args.skip_bad
    args.skip_bad = args.strict = False  # everything is found in any case
    dataset_config(args)

    from insight.data.inspection.check import check_dataset

    found = check_dataset(args.dataset)
    for kind in ("fatal", "wrong", "notes"):
        for line in getattr(found, kind):
            print(f"{kind.removesuffix('s')}: {line}")
    print(
        f"{args.dataset}: {len(found.fatal)} fatal, {len(found.wrong)} wrong, {counted(len(found.notes), 'note')}; "
        f"{counted(found.images, 'image')} and {counted(found.objects, 'object')} can be used"
    )
    if found.fatal:
        print("docs/data.md describes the expected files")
    return int(bool(found.fatal or (found.wrong and not skips)))
