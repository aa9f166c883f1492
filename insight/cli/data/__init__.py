"""`insight data`: prepare, check and inspect datasets."""

from . import check, foreground, prepare, show, statistics, town


def add_parser(commands) -> None:
    """Add the group."""
    summary = "prepare, check and inspect datasets"
    parser = commands.add_parser("data", help=summary, description=f"{summary.capitalize()}.")
    tasks = parser.add_subparsers(metavar="TASK", required=True, title="tasks")
    for module in (prepare, check, statistics, foreground, show, town):
        module.add_parser(tasks)
