"""A dataset of rectangles and a detector small enough to train in a test."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("square", "bar")
SIZE = (64, 80)  # height, width of an image
# With these, CONFIG becomes the whole prompt model: prompts, area loss and sampled boxes; a smaller GPM.
PROMPTS_FILE = Path(__file__).resolve().parents[2] / "configs" / "base" / "insight.yaml"
PROMPTS = {"META_ARCHITECTURE": "PromptRCNN", "PROMPT": {"GPM": {"DIM": 32}}}

# MODEL.META_ARCHITECTURE and the datasets are for the test to choose.
CONFIG = {
    "VERSION": 2,
    "SEED": 7,
    "MODEL": {
        "DEVICE": "cpu",
        "WEIGHTS": "",
        "MASK_ON": True,
        "BACKBONE": {"NAME": "build_resnet_fpn_backbone", "FREEZE_AT": 0},
        "RESNETS": {
            "DEPTH": 18,
            "NORM": "BN",
            "RES2_OUT_CHANNELS": 64,
            "OUT_FEATURES": ["res2", "res3", "res4", "res5"],
        },
        "FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"], "OUT_CHANNELS": 16},
        "ANCHOR_GENERATOR": {"SIZES": [[8], [16], [32], [64], [128]]},
        "RPN": {
            "IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
            "PRE_NMS_TOPK_TRAIN": 50,
            "PRE_NMS_TOPK_TEST": 50,
            "POST_NMS_TOPK_TRAIN": 20,
            "POST_NMS_TOPK_TEST": 10,
            "CONV_DIMS": [16],
        },
        "ROI_HEADS": {
            "NAME": "StandardROIHeads",
            "IN_FEATURES": ["p2", "p3", "p4", "p5"],
            "NUM_CLASSES": len(CLASSES),
            "BATCH_SIZE_PER_IMAGE": 16,
            "SCORE_THRESH_TEST": 0.0,
        },
        "ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "NUM_FC": 1, "FC_DIM": 32, "POOLER_RESOLUTION": 7},
        "ROI_MASK_HEAD": {
            "NAME": "MaskRCNNConvUpsampleHead",
            "NUM_CONV": 1,
            "CONV_DIM": 16,
            "POOLER_RESOLUTION": 14,
        },
    },
    "INPUT": {"MIN_SIZE_TRAIN": [48, 64], "MAX_SIZE_TRAIN": 96, "MIN_SIZE_TEST": 64, "MAX_SIZE_TEST": 96},
    "DATALOADER": {"NUM_WORKERS": 0, "FILTER_EMPTY_ANNOTATIONS": False},
    "SOLVER": {
        "IMS_PER_BATCH": 2,
        "BASE_LR": 0.005,
        "MAX_ITER": 8,
        "STEPS": [6],
        "WARMUP_ITERS": 3,
        "CHECKPOINT_PERIOD": 4,
    },
}


def write_dataset(folder: Path, images: int = 6, seed: int = 0) -> tuple[Path, Path]:
    """Draw images of rectangles; the last holds none.

    Returns:
        The COCO JSON file and the folder of images.
    """
    generator = np.random.default_rng(seed)
    height, width = SIZE
    (folder / "images").mkdir(parents=True)
    coco = {"images": [], "annotations": [], "categories": []}
    coco["categories"] = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    for number in range(images):
        picture = generator.integers(0, 60, (height, width, 3), dtype=np.uint8)
        for _ in range(0 if number == images - 1 else 3):
            kind = int(generator.integers(2))
            w, h = [(14, 14), (30, 8)][kind]
            x, y = int(generator.integers(width - w)), int(generator.integers(height - h))
            picture[y : y + h, x : x + w] = [(200, 40, 40), (40, 200, 220)][kind]
            outline = [x, y, x + w, y, x + w, y + h, x, y + h]
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]) + 1,
                    "image_id": number + 1,
                    "category_id": kind + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [outline],
                }
            )
        name = f"{number}.png"
        Image.fromarray(picture).save(folder / "images" / name)
        coco["images"].append({"id": number + 1, "file_name": name, "height": height, "width": width})
    path = folder / "instances.json"
    path.write_text(json.dumps(coco))
    return path, folder / "images"
