"""`insight data`: prepare datasets, check them and look at them."""

from . import check, foreground, prepare, show, statistics


def add_parser(commands) -> None:
    """Add the group."""
    summary = "prepare datasets, check them and look at them"
    parser = commands.add_parser("data", help=summary, description=f"{summary.capitalize()}.")
    tasks = parser.add_subparsers(metavar="TASK", required=True, title="tasks")
    for module in (prepare, check, statistics, foreground, show):
        module.add_parser(tasks)
