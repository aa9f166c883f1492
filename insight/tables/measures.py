"""Numbers of a model itself: parameters, multiply-adds, speed."""

import itertools
import statistics
import time
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from insight.data.datasets import register_from_config
from insight.engine import trainer_class
from insight.errors import InputError
from insight.modeling.checkpointer import Checkpointer
from insight.modeling.sopseg import build_sopseg

IMAGES = 20  # that speed is taken on


def count_parameters(cfg: CfgNode) -> int:
    """Parameters of a config's model, frozen ones included; weights of frozen batch norms are none.

    Args:
        cfg: the config; no weights are loaded.

    Returns:
        How many numbers they are.
    """
    return sum(parameter.numel() for parameter in _without_weights(cfg).parameters())


def count_gmacs(cfg: CfgNode, prompts: int) -> float:
    """Multiply-adds of SOPSeg for an image, as torch counts them: matrix products, convolutions and attention.

    What papers give as GFLOPs are mostly these; counted strictly, a multiply-add is two floating-point operations.

    Args:
        cfg: the config; MODEL.META_ARCHITECTURE is SOPSEG.
        prompts: oriented boxes, on one image. With MODEL.SOPSEG.MAGNIFY each has a crop of its own.

    Returns:
        Billions.

    Raises:
        InputError: another model.
    """
    if cfg.MODEL.META_ARCHITECTURE != "SOPSEG":
        raise InputError(f"gmacs: counted of SOPSEG only, not of {cfg.MODEL.META_ARCHITECTURE}")
    keys = cfg.MODEL.SOPSEG
    crops = prompts if keys.MAGNIFY else 1
    size = keys.INPUT_SIZE
    with torch.device("meta"), FlopCounterMode(display=False) as counter:  # shapes only
        model = build_sopseg(keys.ENCODER, keys.DECODER).eval()
        points = (
            {} if keys.PROMPT == "box" else {"points": torch.zeros(prompts, 3, 2), "labels": torch.ones(prompts, 3)}
        )
        model(torch.zeros(crops, 3, size, size), torch.zeros(prompts, 4), **points)
    return counter.get_total_flops() / 2e9


def measure_speed(configs: Sequence[CfgNode]) -> list[dict[str, float]]:
    """Images a second of trained models, which take turns on the same images.

    Args:
        configs: their configs; MODEL.WEIGHTS are the checkpoints. The first of DATASETS.TEST must be the same.

    Returns:
        For each "fps", the median, and "speed", the median over the images of how many times as fast as the first.
    """
    contenders = [_Contender(cfg) for cfg in configs]
    seconds: list[list[float]] = [[] for _ in contenders]
    for index in range(-2, min(len(c.inputs) for c in contenders)):  # twice to warm up
        order = list(range(len(contenders)))
        for k in order[index % len(order) :] + order[: index % len(order)]:
            taken = contenders[k].run(max(index, 0))
            if index >= 0:
                seconds[k].append(taken)
    return [
        {
            "fps": 1 / statistics.median(mine),
            "speed": statistics.median(first / own for first, own in zip(seconds[0], mine)),
        }
        for mine in seconds
    ]


class _Contender:
    """A model and its inputs."""

    def __init__(self, cfg: CfgNode):
        cfg = cfg.clone()
        cfg.defrost()
        cfg.DATALOADER.NUM_WORKERS = 0
        register_from_config(cfg)
        self.model = build_model(cfg).eval()
        if cfg.MODEL.WEIGHTS:
            Checkpointer(self.model, exact=True).load(cfg.MODEL.WEIGHTS, checkpointables=[])
        loader = trainer_class(cfg).build_test_loader(cfg, cfg.DATASETS.TEST[0])
        self.inputs = list(itertools.islice(loader, IMAGES))
        self.on_gpu = torch.device(cfg.MODEL.DEVICE).type == "cuda"

    @torch.no_grad()
    def run(self, index: int) -> float:
        """Seconds that an image takes."""
        start = self._now()
        self.model(self.inputs[index])
        return self._now() - start

    def _now(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


def _without_weights(cfg: CfgNode) -> nn.Module:
    if cfg.MODEL.META_ARCHITECTURE == "SOPSEG":
        with torch.device("meta"):  # no memory is needed
            return build_sopseg(cfg.MODEL.SOPSEG.ENCODER, cfg.MODEL.SOPSEG.DECODER)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.TIMM.WEIGHTS, cfg.MODEL.DEVICE = "", "cpu"
    return build_model(cfg)
