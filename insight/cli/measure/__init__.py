"""`insight measure`: measurements of a model, each written to a JSON file."""

from . import context, gain, jitter, missed, prompt_use, proposals


def add_parser(commands) -> None:
    """Add the group."""
    summary = "measure a model's prompts and proposals"
    parser = commands.add_parser("measure", help=summary, description=f"{summary.capitalize()}.")
    measurements = parser.add_subparsers(metavar="MEASUREMENT", required=True, title="measurements")
    for module in (context, gain, jitter, missed, prompt_use, proposals):
        module.add_parser(measurements)
