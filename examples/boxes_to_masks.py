"""Masks of the boats in a drawn marina from their oriented boxes, with SOPSeg or SAM."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from insight import SOPSegPredictor
from insight.data.scenes import draw_scene

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument(
    "--weights",
    help="checkpoint of SOPSeg, SAM (sam_vit_b_01ec64.pth) or MobileSAM (mobile_sam.pt); default: sopseg-vit-t",
)
arguments.add_argument("--output", type=Path, default=Path("output/boxes_to_masks"))
args = arguments.parse_args()

# A scene comes with its ground truth: for each object its class, its exact mask and its oriented box.
scene = draw_scene(seed=5, size=(320, 320), kind="harbour", look="optical")
boats = [i for i in scene.instances if i.category == "ship"]
truth = np.array([boat.full_mask(scene.image.shape[:2]) for boat in boats])

# Without weights, the model that ships with insight.
predictor = SOPSegPredictor(args.weights) if args.weights else SOPSegPredictor.from_pretrained()

# An oriented box is (centre x, centre y, width, height, degrees counter-clockwise). SAM knows horizontal boxes only:
# give it boxes=... instead. Each boat is seen in a magnified crop around it.
predictor.set_image(scene.image)
prediction = predictor.predict(oriented_boxes=[boat.oriented_box for boat in boats], classes="ship")

# Masks are run-length codes; as an array they are (N, H, W) bool.
masks = np.asarray(prediction.masks)
iou = (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2))
print(f"{len(boats)} boats: mean IoU with the ground truth {iou.mean():.2f}")

args.output.mkdir(parents=True, exist_ok=True)
prediction.save(args.output / "boats.json", file_name="marina.png")  # COCO; .png would write a label map
Image.fromarray(scene.image).save(args.output / "marina.png")
Image.fromarray(prediction.plot(scene.image)).save(args.output / "boats.png")
print(f"wrote marina.png, boats.json and boats.png to {args.output}")
