"""Add the prompt modules of Insight Any Instance to a Detectron2 model, train it a little, prompt it with boxes."""

import numpy as np
import torch
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Instances
from detectron2.utils.events import EventStorage

import insight
from insight.data.scenes import CATEGORIES, draw_scene

SIZE = (160, 160)  # height, width of a scene, pixels
# Detectron2's own config of Mask R-CNN, made small enough for a CPU ...
cfg = get_cfg()
insight.add_insight_config(cfg)
cfg.merge_from_file(model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"))
cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS, cfg.MODEL.RESNETS.NORM = 18, 64, "BN"
cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.FPN.OUT_CHANNELS, cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 0, 64, 128
cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[8], [16], [32], [64], [128]]
cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN, cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 100, 32
cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(CATEGORIES)
# ... and what insight adds: prompts in the poolers of the same RoI heads.
cfg.MODEL.META_ARCHITECTURE = "PromptRCNN"
cfg.MODEL.PROMPT.LPM.ENABLED = cfg.MODEL.PROMPT.GPM.ENABLED = True


def training_input(seed: int) -> dict:
    """Draw a scene in the form that Detectron2's models take."""
    scene = draw_scene(seed, SIZE, kind="harbour")
    masks = torch.from_numpy(np.array([i.full_mask(SIZE) for i in scene.instances]))
    instances = Instances(SIZE, gt_masks=BitMasks(masks), gt_boxes=BitMasks(masks).get_bounding_boxes())
    instances.gt_classes = torch.tensor([CATEGORIES.index(i.category) for i in scene.instances])
    image = torch.from_numpy(scene.image[:, :, ::-1].copy()).permute(2, 0, 1)  # BGR, as INPUT.FORMAT says
    return {"image": image, "prompt_image": image, "instances": instances}  # prompts read "prompt_image"


torch.manual_seed(0)
model = build_model(cfg).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
scenes = [training_input(seed) for seed in range(4)]
with EventStorage():  # Detectron2's models write statistics into it
    for epoch in range(8):
        losses = []
        for batch in (scenes[:2], scenes[2:]):
            losses.append(sum(model(batch).values()))
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {torch.stack(losses).mean().item():.2f}")

# With set_image(image) the predictor encodes an image once, for any number of calls. `insight demo` trains longer.
scene = draw_scene(seed=1_000_010, size=SIZE, kind="harbour")
predictor = insight.PromptPredictor(model, class_names=list(CATEGORIES), min_size=0)
answers = predictor.predict(image=scene.image, oriented_boxes=[i.oriented_box for i in scene.instances])
for i, found in list(zip(scene.instances, answers))[:5]:
    print(f"{i.category:8s} -> {found.class_names[0]} {found.scores.item():.2f}, {found.masks.areas().item()} pixels")
