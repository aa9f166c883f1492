"""One training step, in full or mixed precision, on a CPU or a GPU."""

import time

import torch
from detectron2.engine import AMPTrainer
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng

from insight.errors import InsightError

from .stream import ITERATION, derive_seed


def mixed_precision_dtype(device: torch.device) -> torch.dtype:
    """Choose the half-precision type: bfloat16, which needs no loss scaling, unless the GPU lacks it.

    Args:
        device: the model's device.

    Returns:
        torch.bfloat16, or torch.float16 on GPUs before Ampere.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float16
    return torch.bfloat16


class TrainStep(AMPTrainer):
    """Detectron2's training step, with mixed precision on a CPU too and a seed for every iteration.

    Args:
        model: the model; in training it returns losses by name.
        data_loader: an endless iterable of batches.
        optimizer: the optimizer of the model's parameters.
        seed: seed of the run.
        mixed_precision: compute in `mixed_precision_dtype` under autocast.
    """

    def __init__(self, model, data_loader, optimizer, *, seed: int, mixed_precision: bool):
        self.device = next(model.parameters()).device
        dtype = mixed_precision_dtype(self.device)
        scaler = torch.amp.GradScaler(self.device.type, enabled=mixed_precision and dtype == torch.float16)
        super().__init__(model, data_loader, optimizer, grad_scaler=scaler, precision=dtype)
        self.seed, self.mixed_precision = seed, mixed_precision

    def run_step(self) -> None:
        """Run one iteration: forward, backward, update, metrics.

        Raises:
            InsightError: the loss is NaN or infinite.
        """
        try:
            self._run_step()
        except FloatingPointError as error:  # of the model or of the metrics
            raise InsightError(
                f"{str(error).rstrip('.')}; try a lower SOLVER.BASE_LR or a longer SOLVER.WARMUP_ITERS"
            ) from error

    def _run_step(self) -> None:
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        # After loading, which draws numbers too if it runs in this process: a resumed run must draw the same numbers.
        seed_all_rng(derive_seed(self.seed, self.iter, ITERATION, comm.get_rank()))
        with torch.autocast(self.device.type, self.precision, enabled=self.mixed_precision):
            losses = self.model(batch)
        self.optimizer.zero_grad()
        self.grad_scaler.scale(sum(losses.values())).backward()
        self.after_backward()
        self._write_metrics(losses, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()
