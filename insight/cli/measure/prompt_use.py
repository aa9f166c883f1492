"""`insight measure prompt-use`."""

import argparse

from .common import add_measurement, measure_detector


def add_parser(measurements) -> None:
    """Add the command."""
    add_measurement(
        measurements,
        "prompt-use",
        run,
        "Measure AP of a detector with its prompts changed: none, their mean, another box's, another image's context",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""

    def evaluate(predictor, dataset, cfg):
        from insight.evaluation.prompt_use import evaluate_prompt_use

        return evaluate_prompt_use(predictor, dataset, cfg.TEST.MAX_DETS, cfg.TEST.AREA_PROFILE)

    measure_detector(args, "prompt_use", evaluate)
