"""Starting the processes of a training run."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from typing import TypeVar

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.engine.launch import DEFAULT_TIMEOUT, _distributed_worker, _find_free_port

from insight.errors import InputError

_PATIENCE = 10.0  # seconds that each process has to end by itself

_T = TypeVar("_T")


def launch(
    work: Callable[[_T], object],
    job: _T,
    processes: int = 1,
    *,
    on_cpu: bool = False,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
) -> None:
    """Run `work(job)` in this process, in one process per GPU (NCCL), or in several processes on the CPU (gloo).

    Args:
        work: an importable function.
        job: its argument; it is pickled where there are several processes.
        processes: processes per machine.
        on_cpu: hide the GPUs.
        num_machines: number of machines.
        machine_rank: rank of this machine, from 0.
        dist_url: where the processes meet; "auto" for a free port of this machine.
    """
    if on_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Detectron2 takes gloo where it sees no GPU
    if processes * num_machines == 1:
        work(job)
        return
    if dist_url == "auto":
        dist_url = f"tcp://127.0.0.1:{_find_free_port()}"
    # As Detectron2's launch does it, which cannot tell the start of the processes from their end.
    share = (work, processes * num_machines, processes, machine_rank, dist_url, (job,), DEFAULT_TIMEOUT)
    try:
        with _deaf_to_interrupts():
            running = torch.multiprocessing.start_processes(
                _distributed_worker, share, processes, join=False, start_method="spawn"
            )
        while not running.join():
            pass
    finally:
        children = multiprocessing.active_children()  # of an interrupted run; Python would wait for them to finish
        for child in children:
            child.terminate()
        for child in children:
            child.join(_PATIENCE)
            child.kill()  # inside a library call that waits for another process it handles no other signal


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block Ctrl-C, which a terminal sends to the whole group, in processes that are started in the block.

    Their parent ends them. Until a new process has imported what it works with, each would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # whose start would end the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def count_processes(num_gpus: int = 1, num_processes: int | None = None) -> int:
    """Return the number of processes per machine.

    Args:
        num_gpus: GPUs per machine; 1 is the CPU where there is no GPU.
        num_processes: processes on the CPU instead.

    Returns:
        The number of processes.

    Raises:
        InputError: a number is below 1, or there are fewer GPUs.
    """
    if num_processes is None:
        check_num_gpus(num_gpus)
        return num_gpus
    if num_processes < 1:
        raise InputError(f"num_processes: expected at least 1, got {num_processes}")
    return num_processes


def check_num_gpus(count: int) -> None:
    """Check that there are enough GPUs. On a machine without a GPU, 1 means the CPU.

    Args:
        count: GPUs per machine.

    Raises:
        InputError: count is below 1, or there are fewer GPUs.
    """
    if count < 1:
        raise InputError(f"num_gpus: expected at least 1, got {count}")
    if count > 1 and count > torch.cuda.device_count():
        raise InputError(f"num_gpus: expected at most {torch.cuda.device_count()}, which torch can use, got {count}")


def scaled_to_processes(cfg: CfgNode, processes: int) -> CfgNode:
    """Scale batch, learning rate and schedule from SOLVER.REFERENCE_WORLD_SIZE processes to the actual number.

    Args:
        cfg: the config.
        processes: number of processes that train together.

    Returns:
        The scaled config; the same where SOLVER.REFERENCE_WORLD_SIZE is 0.

    Raises:
        InputError: the batch cannot be divided among the reference's processes, or the scaled one among these.
    """
    reference, size = cfg.SOLVER.REFERENCE_WORLD_SIZE, cfg.SOLVER.IMS_PER_BATCH
    if reference < 0 or (reference and size % reference):
        raise InputError(
            f"SOLVER.REFERENCE_WORLD_SIZE is {reference}: expected 0 or a divisor of SOLVER.IMS_PER_BATCH, {size}"
        )
    cfg = DefaultTrainer.auto_scale_workers(cfg, processes)
    check_batch(cfg.SOLVER.IMS_PER_BATCH, processes)
    return cfg


def check_batch(size: int, processes: int) -> None:
    """Check that a batch can be divided among processes.

    Args:
        size: SOLVER.IMS_PER_BATCH.
        processes: number of processes that train together.

    Raises:
        InputError: the size is not a multiple of the number of processes, or is below 1.
    """
    if size < 1:
        raise InputError(f"SOLVER.IMS_PER_BATCH is {size}: expected at least 1")
    if size % processes:
        raise InputError(f"SOLVER.IMS_PER_BATCH is {size}: expected a multiple of the {processes} processes")
