"""Starting the processes of one training."""

import argparse
import multiprocessing
import os
from collections.abc import Callable

from detectron2.engine import launch as launch_detectron2


def launch(main: Callable[[argparse.Namespace], object], args: argparse.Namespace) -> None:
    """Run `main(args)` in this process, in one process a GPU (NCCL), or in several on the CPU (gloo).

    Args:
        main: an importable function.
        args: of `train_arguments()`.
    """
    processes = args.num_gpus
    if args.num_processes:
        processes = args.num_processes
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
        for child in multiprocessing.active_children():  # of an interrupted run; Python would wait for them to finish
            child.terminate()
