"""Measures of a model: parameters, multiply-adds, speed."""

import itertools
import statistics
import time
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from insight.config import is_sopseg
from insight.data.datasets import register_from_config
from insight.engine import trainer_class
from insight.errors import InputError
from insight.modeling.checkpointer import Checkpointer
from insight.modeling.sopseg import build_sopseg

IMAGES = 20  # on which speed is measured


def count_parameters(cfg: CfgNode) -> int:
    """Count the parameters of a config's model, frozen ones included; weights of frozen batch norms are buffers.

    Args:
        cfg: the config; no weights are loaded.

    Returns:
        The number of scalars.
    """
    return sum(parameter.numel() for parameter in _without_weights(cfg).parameters())


def count_gmacs(cfg: CfgNode, prompts: int) -> float:
    """Count the multiply-adds of SOPSeg on an image: matrix products, convolutions and attention, as torch counts them.

    Papers usually call them FLOPs; strictly, a multiply-add is two floating-point operations.

    Args:
        cfg: the config of a SOPSeg model.
        prompts: number of oriented boxes on the image. With MODEL.SOPSEG.MAGNIFY each has a crop of its own.

    Returns:
        Billions of multiply-adds.

    Raises:
        InputError: the model is not a SOPSeg.
    """
    if not is_sopseg(cfg):
        raise InputError(f"gmacs: counted for SOPSeg only, got {cfg.MODEL.META_ARCHITECTURE}")
    keys = cfg.MODEL.SOPSEG
    crops = prompts if keys.MAGNIFY else 1
    size = keys.INPUT_SIZE
    model = _without_weights(cfg).eval()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:  # shapes only
        oriented = (
            {}
            if keys.PROMPT == "box"
            else {
                "points": torch.zeros(prompts, 3, 2),
                "labels": torch.ones(prompts, 3),
                "corners": torch.zeros(prompts, 4, 2),
            }
        )
        model(torch.zeros(crops, 3, size, size), torch.zeros(prompts, 4), **oriented)
    return counter.get_total_flops() / 2e9


def measure_speed(configs: Sequence[CfgNode]) -> list[dict[str, float]]:
    """Measure the speed of trained models, which take turns on the same images.

    Args:
        configs: their configs; MODEL.WEIGHTS are the checkpoints. The first of DATASETS.TEST must be the same.

    Returns:
        For each model "fps", images per second by the median time, and "speed", the median over the images of the time
        of the first model divided by its own.
    """
    models = [_TimedModel(cfg) for cfg in configs]
    seconds: list[list[float]] = [[] for _ in models]
    for index in range(-2, min(len(model.inputs) for model in models)):  # twice to warm up
        order = list(range(len(models)))
        for k in order[index % len(order) :] + order[: index % len(order)]:
            taken = models[k].run(max(index, 0))
            if index >= 0:
                seconds[k].append(taken)
    return [
        {
            "fps": 1 / statistics.median(mine),
            "speed": statistics.median(first / own for first, own in zip(seconds[0], mine)),
        }
        for mine in seconds
    ]


class _TimedModel:
    """A model with its inputs."""

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
        """Return the time of one image, in seconds."""
        start = self._now()
        self.model(self.inputs[index])
        return self._now() - start

    def _now(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


def _without_weights(cfg: CfgNode) -> nn.Module:
    if is_sopseg(cfg):
        with torch.device("meta"):  # needs no memory
            model = build_sopseg(cfg.MODEL.SOPSEG.ENCODER, cfg.MODEL.SOPSEG.DECODER)
            if cfg.MODEL.SOPSEG.PROMPT_FORM == "tokens":
                model.prompt_encoder.add_angle_token()
        return model
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.TIMM.WEIGHTS, cfg.MODEL.DEVICE = "", "cpu"
    return build_model(cfg)
