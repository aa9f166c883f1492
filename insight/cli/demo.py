"""`insight demo`."""

import argparse

from insight.errors import InputError
from insight.runtime.outputs import check_output_folder

from .options import add_command, add_config, add_device, add_overrides, check_model, config_of


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "demo",
        run,
        "Show the shipped models on drawn scenes: found without prompts, segmented from boxes and from loose ones",
        ("demo", "demo --train --output output/longer SOLVER.MAX_ITER 480"),
        "Takes less than two minutes on a laptop's CPU. With --train, it trains a small prompt model instead,\n"
        "evaluates it, prompts it and draws the results: about 10 minutes; a stopped run resumes where it left off.",
    )
    parser.add_argument("--train", action="store_true", help="train a small model instead")
    add_config(parser, required=False, purpose="training")
    parser.add_argument("--output", default="output/demo", metavar="DIR", help="output folder (default: %(default)s)")
    add_device(parser, "cuda if there is a GPU")
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    output = check_output_folder(args.output)
    if (args.config_file or args.opts) and not args.train:
        raise InputError("train: a config, or changes to it, are for training; add --train")
    check_model(args)
    if args.train:
        _train(args, output)
    else:
        _show(args.device, output)


def _show(device: str, output) -> None:
    from insight.engine.demonstration import JITTER, demonstrate_models
    from insight.hub import DEFAULT_DETECTOR, DEFAULT_SOPSEG, detector_works, find

    detector = find(DEFAULT_DETECTOR) if detector_works() else None
    found, asked = demonstrate_models(output, detector, find(DEFAULT_SOPSEG), device or None)
    if found:
        print(f"{'scene':8s} {DEFAULT_DETECTOR}, without prompts")
        for row in found:
            print(f"{row.scene:8s} {row.detections} detections, {row.right} right, of {row.objects} objects")
        print()
    else:
        print(f"{DEFAULT_DETECTOR} is left out: it needs Detectron2 and timm (`insight info` says what is installed)\n")
    print(f"{'scene':8s} {DEFAULT_SOPSEG + ', prompts':24s} objects  mean IoU  image not used")
    for one in asked:
        print(f"{one.scene:8s} {one.prompts:24s} {one.objects:7d}  {one.iou:8.1f}  {one.image_free:14.1f}")
    print(
        f"\nSides of loose boxes are off by up to {JITTER:.0%} of the box. Image not used: a superellipse drawn into "
        "each prompt.\n"
        + (f"pictures of detections (image, detections, ground truth): {output}/*_found.png\n" if found else "")
        + f"pictures (image, prompts, masks): {output}/*_boxes.png, {output}/*_loose.png\n"
        f"polygons (COCO): {output}/polygons.json\n"
        f"prompt it yourself: insight predict IMAGE --boxes X1,Y1,X2,Y2 --output {output}/mine"
    )


def _train(args: argparse.Namespace, output) -> None:
    from insight.engine import prepared_run
    from insight.engine.training_demonstration import demonstrate

    args.config_file = args.config_file or ["scenes"]
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
