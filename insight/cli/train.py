"""`insight train`."""

import argparse
import logging
import os
import sys
from typing import NamedTuple

from insight.errors import InputError

from .options import (
    add_bad_options_over_config,
    add_command,
    add_config,
    add_device,
    add_overrides,
    check_model,
    config_of,
    integer,
    overrides_of,
    weight_file,
)
from .parser import Parser
from .reporting import report_errors

_EXAMPLES = (
    "train --config-file nwpu_light insight OUTPUT_DIR output/light",
    "train --config-file nwpu_light modules OUTPUT_DIR output/mine MODEL.ROI_HEADS.NUM_CLASSES 3 \\\n"
    """    DATASETS.COCO '[["mine", "train.json", "images"]]' DATASETS.TRAIN '("mine",)' DATASETS.TEST '("mine",)'""",
    "train --config-file nwpu_light modules --weights scenes-light OUTPUT_DIR output/from_scenes",
    "train --config-file output/light/config.yaml --resume",
    "train --config-file output/light/config.yaml --num-gpus 4 SOLVER.AMP.ENABLED True",
)


class Job(NamedTuple):
    """The picklable job of each process of a training run or an evaluation.

    Attributes:
        args: the arguments that decide on the config.
        evaluation: evaluate instead of training.
        resume: use the last checkpoint in OUTPUT_DIR.
        flags: what the command line calls each argument, for errors.
    """

    args: argparse.Namespace
    evaluation: bool
    resume: bool
    flags: dict[str, str]


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "train",
        run,
        "Train the model of a config, and evaluate it on DATASETS.TEST",
        _EXAMPLES,
        "Writes checkpoints, config.yaml, metrics.json, log.txt and, at the end, results.json to OUTPUT_DIR.",
    )
    parser.continues = "run it with --resume to continue from the last checkpoint, if there is one"
    parser.starts_over_with = ("dry_run", "eval_only")
    model = parser.add_argument_group("model")
    add_config(model, required=False, purpose="training")
    model.add_argument(
        "--weights",
        default="",
        metavar="NAME",
        help="where training starts: a checkpoint, or the name or folder of a model, see `insight models` "
        "(default: MODEL.WEIGHTS of the config)",
    )
    add_device(model)
    parser.add_argument("--resume", action="store_true", help="resume from the last checkpoint in OUTPUT_DIR, if any")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="run two steps and one batch of the evaluation, print schedule, time and memory, and write nothing",
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate only, as `insight evaluate` does")
    add_process_options(parser)
    add_bad_options_over_config(parser)
    add_overrides(parser)


def add_process_options(parser: Parser) -> None:
    """Add the options of the processes."""
    # As Detectron2 has it: a port by user, so that a training that was left behind is noticed.
    port = 2**15 + 2**14 + hash(os.getuid() if sys.platform != "win32" else 1) % 2**14
    group = parser.add_argument_group("processes")
    group.add_argument(
        "--num-gpus", type=integer(1), default=1, metavar="N", help="GPUs per machine (default: %(default)s)"
    )
    group.add_argument(
        "--num-processes", type=integer(1), metavar="N", help="run on the CPU in N processes, even if there are GPUs"
    )
    group.add_argument(
        "--num-machines", type=integer(1), default=1, metavar="N", help="machines (default: %(default)s)"
    )
    group.add_argument(
        "--machine-rank",
        type=integer(0),
        default=0,
        metavar="K",
        help="rank of this machine, from 0 (default: %(default)s)",
    )
    group.add_argument(
        "--dist-url",
        default=f"tcp://127.0.0.1:{port}",
        metavar="URL",
        help="address at which the processes meet, as in torch.distributed (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if not args.config_file and not args.opts:
        raise InputError("config_file: expected the config of the training, got none")
    args.weights = weight_file(args.weights)
    launch_job(args, evaluation=args.eval_only, resume=args.resume)


def print_dry_run(report: dict) -> None:
    """Print the report of a dry run."""
    for name, value in report.items():
        print(f"{name:28s} {value}")


def launch_job(args: argparse.Namespace, evaluation: bool, resume: bool) -> None:
    """Train or evaluate in the requested number of processes."""
    check_model(args)

    from insight.engine.launch import count_processes, launch, scaled_to_processes

    processes = count_processes(args.num_gpus, args.num_processes)
    job = Job(_plain(args), evaluation, resume, args.parser.flags)
    if processes > 1 and not evaluation:  # a single process says so itself
        scaled_to_processes(config_of(job.args), processes * args.num_machines)
    launch(
        _work if processes * args.num_machines > 1 else _do,
        job,
        processes,
        on_cpu=args.num_processes is not None,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
    )


def _plain(args: argparse.Namespace) -> argparse.Namespace:
    """Return the state that can be pickled."""
    return argparse.Namespace(**{name: value for name, value in vars(args).items() if name not in ("run", "parser")})


def _work(job: Job) -> None:
    """What each of several processes does."""
    code = report_errors(lambda: _do(job), job.flags)
    if code:
        sys.exit(code)


def _do(job: Job) -> None:
    from detectron2.utils.comm import is_main_process

    from insight.engine import check_run, dry_run, evaluate, prepared_run, start_logs, train

    cfg = config_of(job.args)
    if getattr(job.args, "dry_run", False):
        check_run(cfg)
        start_logs()
        report = dry_run(cfg)
        if is_main_process():
            print_dry_run(report)
        return
    with prepared_run(cfg, evaluation=job.evaluation, resume=job.resume):
        logging.getLogger(__name__).info(f"Config files: {job.args.config_file}, overrides: {overrides_of(job.args)}")
        if job.evaluation:
            evaluate(cfg, resume=job.resume)
        else:
            train(cfg, resume=job.resume)
