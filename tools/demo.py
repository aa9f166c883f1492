#!/usr/bin/env python
"""Train a small prompt model on drawn scenes, evaluate it, prompt it with boxes, and draw what it answers."""

import argparse

from insight.cli.reporting import reports_errors
from insight.config import load_config
from insight.data.datasets import register_from_config
from insight.demo import run_demo
from insight.engine import start_output
from insight.runtime.outputs import output_folder


@reports_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: demo.py --output output/longer SOLVER.MAX_ITER 480",
    )
    parser.add_argument(
        "--config-file", default="configs/demo/scenes.yaml", metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument(
        "--output", type=output_folder, default="output/demo", metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="more config values")
    args = parser.parse_args()
    cfg = load_config(args.config_file, ["OUTPUT_DIR", str(args.output), *args.opts])
    register_from_config(cfg)
    start_output(cfg)
    for name, value in run_demo(cfg).items():
        print(f"{name:14s} {value:6.1f}")
    print(f"Pictures (left: found; right: asked for by true boxes): {args.output}/overlays")
    print(
        f"Ask it yourself: python tools/predict.py IMAGE --config-file {args.output}/config.yaml "
        f"--weights {args.output}/model_final.pth --boxes X1,Y1,X2,Y2 --output {args.output}/mine"
    )


if __name__ == "__main__":
    main()
