"""The optimizer of SOLVER.OPTIMIZER."""

from collections.abc import Callable
from functools import partial

import torch
from detectron2 import solver
from detectron2.config import CfgNode

from insight.errors import InputError


def build_optimizer(
    cfg: CfgNode, model: torch.nn.Module, lr_factor: Callable[[str], float] | None = None
) -> torch.optim.Optimizer:
    """Build Detectron2's SGD, or AdamW with the same parameter groups, rates, decays and gradient clipping.

    Args:
        cfg: the config; all of SOLVER's keys apply, MOMENTUM and NESTEROV to SGD only.
        model: the model; its parameters that require a gradient are optimised.
        lr_factor: maps the name of a parameter to a factor on its learning rate; None for no factors.

    Returns:
        The optimizer.

    Raises:
        InputError: SOLVER.OPTIMIZER is neither "SGD" nor "AdamW".
    """
    keys = cfg.SOLVER
    options = {"lr": keys.BASE_LR, "weight_decay": keys.WEIGHT_DECAY}
    if keys.OPTIMIZER == "SGD":
        kind = partial(torch.optim.SGD, **options, momentum=keys.MOMENTUM, nesterov=keys.NESTEROV, foreach=True)
    elif keys.OPTIMIZER == "AdamW":
        kind = partial(torch.optim.AdamW, **options)
    else:
        raise InputError(f'SOLVER.OPTIMIZER: expected "SGD" or "AdamW", got {keys.OPTIMIZER!r}')
    groups = solver.get_default_optimizer_params(
        model,
        base_lr=keys.BASE_LR,
        weight_decay_norm=keys.WEIGHT_DECAY_NORM,
        bias_lr_factor=keys.BIAS_LR_FACTOR,
        weight_decay_bias=keys.WEIGHT_DECAY_BIAS,
        lr_factor_func=lr_factor,
    )
    return solver.build.maybe_add_gradient_clipping(cfg, kind(groups))
