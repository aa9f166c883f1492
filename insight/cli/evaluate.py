"""`insight evaluate`."""

import argparse

from .options import add_bad_options_over_config, add_command, add_model, add_overrides
from .train import add_process_options, launch_job


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        "Evaluate a model on DATASETS.TEST of its config",
        (
            "evaluate --config-file output/light/config.yaml --weights output/light/model_final.pth",
            "evaluate --model scenes-light OUTPUT_DIR output/scenes_light",
            "evaluate --config-file output/light/config.yaml --resume OUTPUT_DIR output/light TEST.BOUNDARY_AP True",
        ),
        "Writes results.json, and detections in inference/, to OUTPUT_DIR.",
    )
    model = parser.add_argument_group("model")
    add_model(model)
    model.add_argument("--resume", action="store_true", help="evaluate the last checkpoint in OUTPUT_DIR")
    add_process_options(parser)
    add_bad_options_over_config(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    launch_job(args, evaluation=True, resume=args.resume)
