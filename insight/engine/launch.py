"""Starting the processes of one training."""

import argparse
import multiprocessing
import os
from collections.abc import Callable

import torch
from detectron2.engine import launch as launch_detectron2

from insight.config import load_config

_PATIENCE = 10.0  # seconds that each process has to end by itself


def launch(main: Callable[[argparse.Namespace], object], args: argparse.Namespace) -> None:
    """Run `main(args)` in this process, in one process a GPU (NCCL), or in several on the CPU (gloo).

    Args:
        main: an importable function.
        args: of `train_arguments()`.

    Raises:
        ValueError: --num-gpus or --num-processes is below 1, there are fewer GPUs, or SOLVER.IMS_PER_BATCH cannot be
            shared out among the processes; nothing was started then.
    """
    if args.num_processes is None:
        check_num_gpus(args.num_gpus)
        processes = args.num_gpus
    else:
        if args.num_processes < 1:
            raise ValueError(f"--num-processes {args.num_processes}: expected at least 1")
        processes = args.num_processes
    if processes > 1 and not args.eval_only:  # one alone says so itself
        check_batch(load_config(args.config_file, args.opts).SOLVER.IMS_PER_BATCH, processes * args.num_machines)
    if args.num_processes is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Detectron2 takes gloo where it sees no GPU
    try:
        launch_detectron2(
            main,
            processes,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    finally:
        children = multiprocessing.active_children()  # of an interrupted run; Python would wait for them to finish
        for child in children:
            child.terminate()
        for child in children:
            child.join(_PATIENCE)
            child.kill()  # waiting for another process, inside a library, it hears of nothing else


def check_num_gpus(count: int) -> None:
    """Say whether a --num-gpus can be had; one may be asked for where there is none, and is the CPU then.

    Args:
        count: what was given.

    Raises:
        ValueError: it is below 1, or more than there are.
    """
    if count < 1:
        raise ValueError(f"--num-gpus {count}: expected at least 1")
    if count > 1 and count > torch.cuda.device_count():
        raise ValueError(f"--num-gpus {count}: torch can use {torch.cuda.device_count()} here")


def check_batch(size: int, processes: int) -> None:
    """Say whether a batch can be shared out.

    Args:
        size: SOLVER.IMS_PER_BATCH.
        processes: that train together.

    Raises:
        ValueError: it cannot, or there is none.
    """
    if size < 1:
        raise ValueError(f"SOLVER.IMS_PER_BATCH is {size}: expected at least 1")
    if size % processes:
        raise ValueError(f"SOLVER.IMS_PER_BATCH is {size}: expected a multiple of the {processes} processes")
