"""`insight demo`."""

import argparse

from .options import add_command, add_config, add_device, add_overrides, config_of


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "demo",
        run,
        "Train a small prompt model on drawn scenes, evaluate it, prompt it with boxes and draw the results",
        ("demo", "demo --output output/longer SOLVER.MAX_ITER 480"),
        "Takes about 10 minutes on a laptop's CPU. A stopped run resumes where it was.",
    )
    add_config(parser, required=False)
    parser.set_defaults(config_file=["scenes"])
    parser.add_argument("--output", default="output/demo", metavar="DIR", help="OUTPUT_DIR (default: %(default)s)")
    add_device(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from insight.engine import prepared_run
    from insight.engine.demonstration import demonstrate
    from insight.runtime.outputs import check_output_folder

    output = check_output_folder(args.output)
    cfg = config_of(args, ["OUTPUT_DIR", str(output)])
    with prepared_run(cfg, resume=True):
        found = demonstrate(cfg)
    for name, value in found.items():
        print(f"{name:14s} {value:6.1f}")
    print(f"pictures (*_found: without prompts; *_prompted: image, boxes, masks): {output}/overlays")
    print(
        f"prompt it yourself: insight predict IMAGE --config-file {output}/config.yaml "
        f"--weights {output}/model_final.pth --boxes X1,Y1,X2,Y2 --output {output}/mine"
    )
