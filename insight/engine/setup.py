"""From the command line to a config and a process that is ready to work."""

import argparse
import logging
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from insight.config import load_config
from insight.data.bad_options import add_bad_options_over_config, bad_overrides
from insight.data.datasets import register_from_config, require_registered
from insight.modeling.checkpointer import require_weights
from insight.runtime.outputs import output_folder

_EXAMPLES = """examples:
  train_net.py --config-file configs/insight/nwpu_light.yaml OUTPUT_DIR output/light
  train_net.py --config-file output/light/config.yaml --resume
  train_net.py --config-file output/light/config.yaml --eval-only MODEL.WEIGHTS output/light/model_final.pth
"""


def train_arguments() -> argparse.ArgumentParser:
    """Detectron2's arguments of a training command, --num-processes, and what to do about bad data."""
    parser = default_argument_parser(epilog=_EXAMPLES)
    next(action for action in parser._actions if action.dest == "opts").help = "config values, as in docs/config.md"
    parser.description = "Train or evaluate the model that a config file describes."
    parser.add_argument(
        "--num-processes",
        type=int,
        metavar="N",
        help="train on the CPU in N processes of this machine, GPUs or not (instead of --num-gpus)",
    )
    add_bad_options_over_config(parser)
    return parser


def setup(args: argparse.Namespace) -> CfgNode:
    """Read the config, register its data sets and start the logs.

    Args:
        args: of `train_arguments()`.

    Returns:
        The frozen config.

    Raises:
        ValueError: of `load_config`, `register_from_config` and `require_weights`, or there is no data set of a name.
    """
    cfg = load_config(args.config_file, [*args.opts, *bad_overrides(args)])
    register_from_config(cfg)
    for key in ("TEST",) if args.eval_only else ("TRAIN", "TEST"):
        require_registered(cfg.DATASETS[key], f"DATASETS.{key}")
    require_weights(cfg, args.resume)
    start_output(cfg)
    logger = logging.getLogger(__name__)
    logger.info(f"Arguments: {args}")
    if args.resume and not Path(cfg.OUTPUT_DIR, "last_checkpoint").is_file():
        logger.warning(f"--resume: {cfg.OUTPUT_DIR} has no last_checkpoint; MODEL.WEIGHTS is taken")
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not args.eval_only
    return cfg


def start_output(cfg: CfgNode) -> None:
    """Start the logs in OUTPUT_DIR.

    Args:
        cfg: the config.

    Raises:
        OSError: OUTPUT_DIR is a file, or cannot be written to.
    """
    output_folder(cfg.OUTPUT_DIR, "OUTPUT_DIR")
    rank = comm.get_rank()
    for name in ("detectron2", "fvcore", "insight"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name=name)
    logger = logging.getLogger(__name__)
    logger.info(f"Process {rank} of {comm.get_world_size()}")
    logger.info(f"torch {torch.__version__} on {cfg.MODEL.DEVICE} with {torch.get_num_threads()} CPU threads")
