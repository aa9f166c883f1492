"""Add the prompt modules of Insight Any Instance to a Detectron2 model, train it for a few steps, prompt it with boxes."""

import numpy as np
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Instances
from detectron2.utils.events import EventStorage

import insight
from insight.data.scenes import CATEGORIES, draw_scene

SIZE = (160, 160)  # height, width of a scene, pixels

# An ordinary Detectron2 config of a small Mask R-CNN with random weights ...
cfg = get_cfg()
insight.add_insight_config(cfg)
cfg.merge_from_list(
    [
        *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.MASK_ON", True),
        *("MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.BACKBONE.FREEZE_AT", 0),
        *("MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.NORM", "BN"),
        *("MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"], "MODEL.FPN.OUT_CHANNELS", 64),
        *("MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4", "res5"]),
        *("MODEL.ANCHOR_GENERATOR.SIZES", [[8], [16], [32], [64], [128]], "MODEL.RPN.POST_NMS_TOPK_TRAIN", 100),
        *("MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5", "p6"], "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 32),
        *("MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_HEADS.NUM_CLASSES", len(CATEGORIES)),
        *("MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4", "p5"], "MODEL.ROI_BOX_HEAD.NUM_FC", 1),
        *("MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.FC_DIM", 128),
        *("MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead", "MODEL.ROI_MASK_HEAD.NUM_CONV", 2),
    ]
)
# ... and what insight adds: prompts in the poolers of the same RoI heads.
cfg.MODEL.META_ARCHITECTURE = "PromptRCNN"
cfg.MODEL.PROMPT.LPM.ENABLED = cfg.MODEL.PROMPT.GPM.ENABLED = True


def training_input(seed: int) -> dict:
    """Draw a scene in the form that Detectron2's models take."""
    scene = draw_scene(seed, SIZE)
    masks = torch.from_numpy(np.array([i.full_mask(SIZE) for i in scene.instances]))
    instances = Instances(SIZE, gt_masks=BitMasks(masks), gt_boxes=BitMasks(masks).get_bounding_boxes())
    instances.gt_classes = torch.tensor([CATEGORIES.index(i.category) for i in scene.instances])
    image = torch.from_numpy(scene.image[:, :, ::-1].copy()).permute(2, 0, 1)  # BGR, as INPUT.FORMAT says
    return {"image": image, "prompt_image": image, "instances": instances}  # prompts read the image before any resize


torch.manual_seed(0)
model = build_model(cfg).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
scenes = [training_input(seed) for seed in range(4)]
with EventStorage():  # Detectron2's models write statistics into it
    for epoch in range(5):
        losses = []
        for batch in (scenes[:2], scenes[2:]):
            losses.append(sum(model(batch).values()))
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {torch.stack(losses).mean().item():.2f}")

# The predictor encodes the image once and then answers any boxes. Ten steps teach little: `insight demo` takes 240.
scene = draw_scene(seed=1_000_000, size=SIZE, kind="harbour")
predictor = insight.PromptPredictor(model, class_names=list(CATEGORIES), min_size=0)
predictor.set_image(scene.image)
answers = predictor.predict(oriented_boxes=[i.oriented_box for i in scene.instances])
for i, answer in zip(scene.instances[:5], answers):
    print(f"{i.category:12s} -> {answer.class_names[0]} {answer.scores.item():.2f}, {answer.masks.areas().item()} pixels")
