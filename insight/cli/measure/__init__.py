"""`insight measure`: measurements of a trained model, each written to a JSON file."""

from . import gain, jitter, missed, prompt_use


def add_parser(commands) -> None:
    """Add the group."""
    summary = "measure how a trained model uses its prompts"
    parser = commands.add_parser("measure", help=summary, description=f"{summary.capitalize()}.")
    measurements = parser.add_subparsers(metavar="MEASUREMENT", required=True, title="measurements")
    for module in (gain, jitter, missed, prompt_use):
        module.add_parser(measurements)
