"""`insight measure`: measurements of how prompts are used, each written to a JSON file."""

from . import context, gain, jitter, missed, prompt_use


def add_parser(commands) -> None:
    """Add the group."""
    summary = "measure how prompts are used"
    parser = commands.add_parser("measure", help=summary, description=f"{summary.capitalize()}.")
    measurements = parser.add_subparsers(metavar="MEASUREMENT", required=True, title="measurements")
    for module in (context, gain, jitter, missed, prompt_use):
        module.add_parser(measurements)
