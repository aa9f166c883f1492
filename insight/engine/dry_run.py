"""A dry run: what a training run will need, from two steps and one batch of the evaluation."""

import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from .entry import trainer_class

_STEPS = 2


def dry_run(cfg: CfgNode) -> dict[str, float | int | str]:
    """Load the data, build the model, run two training steps and one batch of the evaluation; keep nothing.

    Args:
        cfg: the config; its datasets must be registered.

    Returns:
        By name, what the training will do and need, as far as these steps show: times are those of the last step and of
        one image, memory is the largest that this process has held.

    Raises:
        InsightError: anything at which training would stop.
    """
    with tempfile.TemporaryDirectory() as folder:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.OUTPUT_DIR = folder
        cfg.freeze()
        trainer = trainer_class(cfg)(cfg)
        trainer.resume_or_load(resume=False)
        solver, on_gpu = trainer.cfg.SOLVER, torch.device(cfg.MODEL.DEVICE).type == "cuda"
        samples = len(trainer.data_loader.dataset)
        step = image = 0.0
        with EventStorage() as trainer._trainer.storage:
            trainer._trainer.model.train()
            for trainer._trainer.iter in range(_STEPS):
                start = _now(on_gpu)
                trainer._trainer.run_step()
                step = _now(on_gpu) - start
        report: dict[str, float | int | str] = {
            "training samples": samples,
            "samples per step": solver.IMS_PER_BATCH,
            "processes": comm.get_world_size(),
            "steps": solver.MAX_ITER,
            "epochs": round(solver.MAX_ITER * solver.IMS_PER_BATCH / samples, 2),
            "learning rate": solver.BASE_LR,
            "warm-up steps": solver.WARMUP_ITERS,
            "learning rate falls": _schedule(trainer.cfg),
            "checkpoint every (steps)": solver.CHECKPOINT_PERIOD,
            "validation every (steps)": trainer.validation_period(trainer.cfg, samples),
            "parameters (M)": round(sum(p.numel() for p in trainer._trainer.model.parameters()) / 1e6, 2),
            "seconds per step": round(step, 3),
            "training (hours)": round(step * solver.MAX_ITER / 3600, 2),
        }
        if cfg.DATASETS.TEST:
            count = sum(len(DatasetCatalog.get(name)) for name in cfg.DATASETS.TEST)
            image = _time_of_an_image(trainer, on_gpu)
            report["test images"] = count
            report["seconds per test image"] = round(image, 3)
            report["one evaluation (hours)"] = round(image * count / comm.get_world_size() / 3600, 2)
        report["memory (GiB)"] = round(_memory(), 2)
        if on_gpu:
            report["GPU memory (GiB)"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        Path(folder).mkdir(exist_ok=True)  # the writers of logs close their files there
    return report


def _time_of_an_image(trainer, on_gpu: bool) -> float:
    """Seconds of one test image, from the model to the evaluator."""
    name = trainer.cfg.DATASETS.TEST[0]
    evaluator = trainer.build_evaluator(trainer.cfg, name)
    evaluator.reset()
    batch = next(iter(trainer.build_test_loader(trainer.cfg, name)))
    model = trainer._trainer.model.eval()
    with torch.no_grad(), trainer.evaluating(model):
        start = _now(on_gpu)
        evaluator.process(batch, model(batch))
    return (_now(on_gpu) - start) / len(batch)


def _schedule(cfg: CfgNode) -> str:
    if "Cosine" in cfg.SOLVER.LR_SCHEDULER_NAME:
        return "along a cosine"
    return f"by {cfg.SOLVER.GAMMA:g} at {', '.join(map(str, cfg.SOLVER.STEPS))}"


def _now(on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()


def _memory() -> float:
    """The largest resident memory of this process so far, GiB."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / 2**30 if sys.platform == "darwin" else largest / 2**20
