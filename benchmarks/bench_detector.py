"""The cost of prompts in a whole detector, in both branches or in the mask branch alone, and of each prompt module.

Ours is the model with LPM and GPM; the baseline is the same model without them. The projections of prompts are zero,
so all contenders must detect the same objects. Proposals are given, and the box predictor gives all classes the same
score, so that every contender processes the same boxes: the highest numbers of proposals and detections that the
config allows.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial

import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from harness import Case, Rival
from torch import Tensor, nn

from insight.config import load_config
from insight.modeling.prompt import projects_prompts

PARTS = {"baseline": (), "LPM alone": ("LPM",), "GPM alone": ("GPM",)}
BOTH = ("LPM", "GPM")


def cases(device: torch.device) -> Iterator[Case]:
    """The light detector for training on a CPU, and that of the paper."""
    for model, config, side in (("light", "nwpu_light", 384), ("mask_rcnn_r50_fpn", "mask_rcnn_r50_fpn", 800)):
        # A detector is built when a case that needs it is run, and once.
        detector = partial(_Detector, config, side, device)
        rivals = {
            name: Rival(partial(_run, cache(partial(detector, parts))), 0.95 if name == "baseline" else None)
            for name, parts in PARTS.items()
        }
        note = "ratio = images per second of all prompts / of the contender"
        name = f"{model} at {side} x {side}, {_proposals(config, device)} proposals"
        ours, of_masks = (cache(partial(detector, BOTH, branches)) for branches in (("box", "mask"), ("mask",)))
        yield Case(name, partial(_run, ours), rivals, note)
        yield Case(f"{name}, mask branch alone", partial(_run, of_masks), {"baseline": rivals["baseline"]}, note)


def _proposals(config: str, device: torch.device) -> int:
    return load_config(config, ["MODEL.DEVICE", str(device)]).MODEL.RPN.POST_NMS_TOPK_TEST


def _run(build: "Callable[[], _Detector]") -> tuple[Tensor, Tensor]:
    return build()()


class _Detector:
    """Inference on one image: backbone, proposals (computed, then replaced by the given ones), both branches."""

    def __init__(
        self,
        config: str,
        side: int,
        device: torch.device,
        parts: tuple[str, ...],
        branches: tuple[str, ...] = ("box", "mask"),
    ):
        options = ["MODEL.DEVICE", str(device), "MODEL.WEIGHTS", "", "MODEL.TIMM.WEIGHTS", ""]
        options += ["MODEL.PROMPT.BRANCHES", list(branches)]
        for part in parts:
            options += [f"MODEL.PROMPT.{part}.ENABLED", True]
        cfg = load_config(config, options)
        torch.manual_seed(0)
        self.model = build_model(cfg).eval()
        predictor = self.model.roi_heads.box_predictor
        for layer in (predictor.cls_score, predictor.bbox_pred):
            nn.init.zeros_(layer.weight)
        for name, parameter in self.model.named_parameters():
            if projects_prompts(name):
                nn.init.zeros_(parameter)
        generator = torch.Generator().manual_seed(0)
        count = cfg.MODEL.RPN.POST_NMS_TOPK_TEST
        corner = torch.rand(count, 2, generator=generator) * (side - 40)
        boxes = torch.cat([corner, corner + 8 + torch.rand(count, 2, generator=generator) ** 2 * side / 4], dim=1)
        self.proposals = Instances((side, side), proposal_boxes=Boxes(boxes), objectness_logits=torch.zeros(count))
        self.proposals = self.proposals.to(device)
        self.inputs = [{"image": torch.randint(0, 256, (3, side, side), generator=generator, dtype=torch.uint8)}]

    @torch.no_grad()
    def __call__(self) -> tuple[Tensor, Tensor]:
        model = self.model
        encoded = model.encode(self.inputs)
        model.proposal_generator(encoded.images, encoded.features, None)
        results, _ = model.roi_heads(encoded.images, encoded.features, [self.proposals], None)
        return results[0].pred_boxes.tensor, results[0].pred_masks
