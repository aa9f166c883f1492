"""`insight measure proposals`."""

import argparse

from .common import add_measurement, measure_detector


def add_parser(measurements) -> None:
    """Add the command."""
    add_measurement(
        measurements,
        "proposals",
        run,
        "Measure the proposals of a detector: their average recall and the error of their areas, by object size",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""

    def evaluate(predictor, dataset, cfg):
        from insight.evaluation.proposals import evaluate_proposals

        return evaluate_proposals(predictor, dataset, cfg.TEST.AREA_PROFILE)

    measure_detector(args, "proposals", evaluate)
