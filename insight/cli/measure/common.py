"""Shared by the measurements."""

import argparse
from collections.abc import Callable

from insight.runtime.outputs import check_output_file

from ..options import (
    add_bad_options_over_config,
    add_command,
    add_model,
    add_overrides,
    check_model,
    overrides_of,
    start_of,
)
from ..parser import Parser

_MODEL = "--config-file output/light/config.yaml --weights output/light/model_final.pth"


def add_measurement(measurements, name: str, run, summary: str, example: str = "") -> Parser:
    """Add a measurement: which model is measured, and where the results go. A measurement may add its own options."""
    examples = [f"measure {name} {_MODEL} --output {name}.json{more}" for more in dict.fromkeys(("", example))]
    parser = add_command(measurements, name, run, summary, examples)
    model = parser.add_argument_group("model")
    add_model(model)
    parser.add_argument("--output", required=True, metavar="FILE", help="JSON file for the results")
    add_bad_options_over_config(parser)
    add_overrides(parser)
    return parser


def measured_config(args: argparse.Namespace):
    """Return the config of the model; register its test datasets and check that --output can be written."""
    args.output = check_output_file(args.output)
    check_model(args)

    from insight.engine.measurement import measured_config

    return measured_config(args.config_file, overrides_of(args), start_of(args))


def measure_detector(args: argparse.Namespace, task: str, evaluate: Callable[..., dict[str, float]]) -> None:
    """Print and write what `evaluate`, (detector, dataset, cfg) -> {metric: value}, finds on each test dataset."""
    cfg = measured_config(args)

    from insight.engine.measurement import measured_predictor, write_measurement

    predictor = measured_predictor(cfg)
    results = {}
    for dataset in cfg.DATASETS.TEST:
        found = evaluate(predictor, dataset, cfg)
        results[dataset] = {task: found}
        for name, value in found.items():
            print(f"{dataset}: {name:{max(map(len, found))}s} {value:6.2f}")
    write_measurement(args.output, cfg, results)
