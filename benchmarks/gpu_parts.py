"""The measuring parts of gpu_check.py: python benchmarks/gpu_parts.py PART RESULT.json"""

import argparse
import importlib
import itertools
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from harness import OURS, Case, Effort, measure

from insight import ops
from insight.runtime.atomic_files import atomic_write

Save = Callable[[dict], None]
EFFORT = Effort(rounds=5, sample=0.02, patience=5.0)
STEPS = 50


def small_shapes(save: Save, device: torch.device) -> None:
    """Run every operator, forward and backward, on small shapes that do not fill tiles, for compute-sanitizer."""
    torch.manual_seed(0)
    calls = _small_crops(device) + _small_attentions(device) + _small_area_losses(device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    save({"calls": calls})


def _small_crops(device: torch.device) -> int:
    boxes = [
        [0, 0, 33, 20],
        [2.3, 1.7, 4.9, 8.2],
        [-3.5, -2, 60, 41.5],
        [8, 8, 8.5, 8.4],
        [5, 5, 5, 7],
        [90, 90, 99, 99],
    ]
    boxes = torch.tensor(boxes, device=device)
    out_of_range = 7 if device.type == "cuda" else 0  # CUDA gives NaN, the CPU raises an error
    index = torch.tensor([0, 1, 1, 0, 1, out_of_range], device=device)
    cases = list(
        itertools.product(
            (torch.uint8, torch.bfloat16, torch.float32, torch.float64),
            (torch.contiguous_format, torch.channels_last),
            (3, 70),  # channels
            ((5, 7), (37, 300)),  # sizes
            (True, False),  # antialias
        )
    )
    for dtype, memory_format, channels, size, antialias in cases:
        images = torch.rand(2, channels, 41, 53, device=device).mul(255).to(dtype, memory_format=memory_format)
        images.requires_grad_(images.is_floating_point())
        values = torch.full((channels,), 2.0, device=device)
        crops = ops.crop_resize(images, boxes, size, image_index=index, mean=values, std=values, antialias=antialias)
        if images.requires_grad:
            crops.sum().backward()
    return len(cases)


def _small_attentions(device: torch.device) -> int:
    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    cases = list(itertools.product(dtypes, (3, 8, 16, 24, 32, 64, 128, 136), ((3, 5, 7), (5, 49, 130))))
    for dtype, d, (rois, tokens, keys) in cases:
        local = torch.randn(rois, tokens, 2 * d, device=device, dtype=dtype, requires_grad=True)
        global_tokens = torch.randn(2, keys, 2 * d, device=device, dtype=dtype, requires_grad=True)
        out = ops.global_to_local_attention(local, global_tokens, torch.arange(rois, device=device) % 2, 2)
        out.sum().backward()
    return len(cases)


def _small_area_losses(device: torch.device) -> int:
    cases = list(itertools.product((torch.float32, torch.float64), ((1, 1), (17, 3), (300, 257), (130, 0))))
    for dtype, (count, gt_count) in cases:
        corners = torch.rand(count + gt_count, 2, device=device, dtype=dtype) * 100
        proposals, gt_boxes = torch.cat([corners, corners + 20], 1).split([count, gt_count])
        ops.area_loss(proposals.clone().requires_grad_(), gt_boxes, iou_threshold=0.1).backward()
    return len(cases)


def kernels(save: Save, device: torch.device) -> None:
    """Benchmark the operators, and set their work against the copy bandwidth and matrix rates measured here."""
    result = {"limits": limits(device), "cases": []}
    for name in ("crop_resize", "global_to_local_attention", "area_loss"):
        for case in importlib.import_module(f"bench_{name}").cases(device):
            row = _measured(name, case, device)
            result["cases"].append(row | shares(case, row, result["limits"]))
            save(result)


def _measured(name: str, case: Case, device: torch.device) -> dict:
    return asdict(measure(name, case, device, EFFORT))


def limits(device: torch.device, copied: int = 2**30, side: int = 8192) -> dict:
    """Measure what the device can do.

    Args:
        device: the device.
        copied: bytes of the tensor that is copied.
        side: of the square matrices that are multiplied.

    Returns:
        "copy_bandwidth", bytes read and written per second, and "matrix_rates", operations per second by dtype.
    """
    source = torch.empty(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    rates = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        matrix = torch.randn(side, side, device=device).to(dtype)
        seconds = _seconds(lambda matrix=matrix: matrix @ matrix, device)
        rates[_name(dtype)] = 2 * side**3 / seconds
    return {"copy_bandwidth": 2 * copied / _seconds(lambda: target.copy_(source), device), "matrix_rates": rates}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _seconds(run: Callable[[], torch.Tensor], device: torch.device) -> float:
    case = Case("", run, {})
    outcome = measure("limits", case, device, Effort(rounds=5, sample=0.05, patience=5.0))
    if outcome.error:
        raise RuntimeError(outcome.error)
    return outcome.contenders[OURS].seconds


def shares(case: Case, row: dict, limits: dict) -> dict[str, float]:
    """The shares of the device's limits that our implementation of a case reaches.

    Args:
        case: the case.
        row: its outcome.
        limits: the output of `limits`.

    Returns:
        "copy_share" and "matrix_share", where the work of the case is known.
    """
    if case.work is None or OURS not in row["contenders"]:
        return {}
    seconds = row["contenders"][OURS]["seconds"]
    found = {"copy_share": case.work.traffic / seconds / limits["copy_bandwidth"]}
    rate = limits["matrix_rates"].get(_name(case.work.dtype))
    if case.work.operations and rate:
        found["matrix_share"] = case.work.operations / seconds / rate
    return found


def prompts(save: Save, device: torch.device) -> None:
    """Measure the latency of box prompts on encoded images."""
    result: dict = {"cases": []}
    module = importlib.import_module("bench_prompt_latency")
    for case, count in zip(module.cases(device), itertools.cycle(module.COUNTS)):
        result["cases"].append(_measured("prompt_latency", case, device) | {"prompts": count})
        save(result)


def training(save: Save, device: torch.device, steps: int = STEPS, scenes: int = 32) -> None:
    """Train the model of the demonstration on synthetic scenes, in float32 and AMP, and in float32 on the CPU.

    Args:
        save: called with the losses so far.
        device: of the first two trainings.
        steps: iterations of each training.
        scenes: images, drawn into a temporary folder.
    """
    result: dict = {"runs": []}
    with tempfile.TemporaryDirectory() as folder:
        dataset = _draw_scenes(Path(folder), scenes)
        for name, run_device, amp in (
            (f"{device.type} float32", device, False),
            (f"{device.type} AMP", device, True),
            ("cpu float32", torch.device("cpu"), False),
        ):
            run = {"name": name, "losses": [], "seconds_per_step": None}
            result["runs"].append(run)
            begin = time.perf_counter()
            for loss in _losses(dataset, folder, run_device, amp, steps):
                run["losses"].append(loss if math.isfinite(loss) else None)  # JSON has no NaN
                run["seconds_per_step"] = (time.perf_counter() - begin) / len(run["losses"])
                save(result)


def _draw_scenes(folder: Path, count: int) -> str:
    from insight.data.datasets.coco import register_coco
    from insight.data.datasets.scenes import CATEGORIES, Split, ensure_rendered

    scenes = folder / "scenes"
    prepare = partial(ensure_rendered, scenes, Split(count, 0, (320, 320)))
    register_coco("gpu_check_scenes", scenes / "instances.json", scenes / "images", classes=CATEGORIES, prepare=prepare)
    return "gpu_check_scenes"


def _losses(dataset: str, folder: str, device: torch.device, amp: bool, steps: int) -> Iterator[float]:
    """The total loss of each step; weights are random, so that nothing needs to be downloaded."""
    from detectron2.utils.events import EventStorage

    from insight.config import load_config
    from insight.engine import Trainer

    config = Path(__file__).resolve().parent.parent / "configs" / "demo" / "scenes.yaml"
    options = ["MODEL.DEVICE", str(device), "MODEL.WEIGHTS", "", "MODEL.TIMM.WEIGHTS", ""]
    options += ["MODEL.TIMM.FROZEN_NORM", False, "SOLVER.AMP.ENABLED", amp, "SOLVER.MAX_ITER", steps]
    options += ["DATASETS.TRAIN", (dataset,), "DATASETS.TEST", (), "OUTPUT_DIR", folder]
    trainer = Trainer(load_config(str(config), options))
    trainer.model.train()
    with EventStorage() as storage:
        for step in range(steps):
            trainer.iter = step
            trainer.run_step()
            trainer.scheduler.step()
            yield storage.latest()["total_loss"][0]
            storage.step()


PARTS = {"small_shapes": small_shapes, "kernels": kernels, "training": training, "prompts": prompts}


def main() -> None:
    """Run a part and write its result, which is updated while the part runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("result", type=Path)
    args = parser.parse_args()

    def save(result: dict) -> None:
        with atomic_write(args.result) as file:
            json.dump(result, file)

    PARTS[args.part](save, torch.device("cuda"))


if __name__ == "__main__":
    sys.exit(main())
