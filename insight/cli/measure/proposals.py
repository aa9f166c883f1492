"""`insight measure proposals`."""

import argparse

from .common import add_measurement, measured_config


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
    cfg = measured_config(args)

    from insight.engine.measurement import measured_predictor, write_measurement
    from insight.evaluation.proposals import evaluate_proposals

    predictor = measured_predictor(cfg)
    results = {}
    for dataset in cfg.DATASETS.TEST:
        found = evaluate_proposals(predictor, dataset, cfg.TEST.AREA_PROFILE)
        results[dataset] = {"proposals": found}
        for name, value in found.items():
            print(f"{dataset}: {name:14s} {value:6.2f}")
    write_measurement(args.output, cfg, results)
