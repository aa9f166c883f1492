"""The optimizer, by SOLVER.OPTIMIZER."""

from collections.abc import Callable

import torch
from detectron2 import solver
from detectron2.config import CfgNode


def build_optimizer(
    cfg: CfgNode, model: torch.nn.Module, lr_factor: Callable[[str], float] | None = None
) -> torch.optim.Optimizer:
    """Detectron2's SGD, or AdamW with the same parameter groups, rates, decays and gradient clipping.

    Args:
        cfg: the config; all of SOLVER's keys apply, MOMENTUM and NESTEROV to SGD only.
        model: its parameters that need a gradient are optimised.
        lr_factor: AdamW only: by what to multiply the learning rate of a parameter, by its name.

    Returns:
        The optimizer.

    Raises:
        ValueError: SOLVER.OPTIMIZER is neither "SGD" nor "AdamW".
    """
    if cfg.SOLVER.OPTIMIZER == "SGD":
        return solver.build_optimizer(cfg, model)
    if cfg.SOLVER.OPTIMIZER != "AdamW":
        raise ValueError(f'SOLVER.OPTIMIZER is {cfg.SOLVER.OPTIMIZER!r}: expected "SGD" or "AdamW"')
    groups = solver.get_default_optimizer_params(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        lr_factor_func=lr_factor,
    )
    adamw = torch.optim.AdamW(groups, lr=cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY)
    return solver.build.maybe_add_gradient_clipping(cfg, adamw)
