"""`insight measure prompt-use`."""

import argparse

from .common import add_measurement, measured_config


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
    cfg = measured_config(args)

    from insight.engine.measurement import measured_predictor, write_measurement
    from insight.evaluation.prompt_use import evaluate_prompt_use

    predictor = measured_predictor(cfg)
    results = {}
    for dataset in cfg.DATASETS.TEST:
        found = evaluate_prompt_use(predictor, dataset, cfg.TEST.MAX_DETS, cfg.TEST.AREA_PROFILE)
        results[dataset] = {"prompt_use": found}
        for name, value in found.items():
            print(f"{dataset}: {name:44s} {value:6.2f}")
    write_measurement(args.output, cfg, results)
