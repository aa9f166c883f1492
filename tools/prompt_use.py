#!/usr/bin/env python
"""Evaluate a detector with its prompts changed: none, their mean, another box's, another image's context."""

from insight.cli.reporting import reports_errors
from insight.data.datasets.coco import require_classes_of_model
from insight.engine.measurement import measured_config, measurement_arguments, write_measurement
from insight.evaluation.prompt_use import evaluate_prompt_use
from insight.inference.predictor import PromptPredictor


@reports_errors
def main() -> None:
    """Run the command."""
    args = measurement_arguments(__doc__).parse_args()
    cfg = measured_config(args)
    predictor = PromptPredictor(cfg)
    results = {}
    for dataset in cfg.DATASETS.TEST:
        require_classes_of_model(predictor.class_names, dataset)
        found = evaluate_prompt_use(predictor, dataset, cfg.TEST.MAX_DETS, cfg.TEST.AREA_PROFILE)
        results[dataset] = {"prompt_use": found}
        for name, value in found.items():
            print(f"{dataset}: {name:44s} {value:6.2f}")
    write_measurement(args, cfg, results)


if __name__ == "__main__":
    main()
