"""Ground truths and detections of boxes, whose masks fill them: the same numbers are right for both tasks."""

import numpy as np
from pycocotools import mask as coco_mask

SIZE = (100, 120)  # height, width
CATEGORIES = {"car": 3, "boat": 7, "tank": 20}


def rle(box):
    """The RLE of an integer XYWH box, which may leave the image."""
    x, y, w, h = box
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[max(y, 0) : y + h, max(x, 0) : x + w] = 1
    code = coco_mask.encode(mask)
    return {"size": list(SIZE), "counts": code["counts"].decode()}


def truth(*annotations, images=(1,)):
    """A COCO dictionary of (category name, box) or (category name, box, image id)."""
    return {
        "images": [{"id": i, "file_name": f"folder/{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in images],
        "categories": [{"id": i, "name": name} for name, i in CATEGORIES.items()],
        "annotations": [
            {
                "id": i, "image_id": (*rest, 1)[0], "category_id": CATEGORIES[name], "bbox": list(box), "iscrowd": 0,
                "area": box[2] * box[3], "segmentation": rle(box),
            }
            for i, (name, box, *rest) in enumerate(annotations, 1)
        ],
    }  # fmt: skip


def detections(*found):
    """COCO detections of (category name, box, score) or (category name, box, score, image id)."""
    return [
        {
            "image_id": (*rest, 1)[0], "category_id": CATEGORIES[name], "bbox": list(box), "score": score,
            "segmentation": rle(box),
        }
        for name, box, score, *rest in found
    ]  # fmt: skip


def random_case(seed=0, images=12):
    """Crowded images with crowd regions, detections of every kind of error, and equal scores; one image has no
    instances, one no detections."""
    rng = np.random.default_rng(seed)
    names = list(CATEGORIES)
    annotations, found = [], []
    for image in range(1, images + 1):
        for _ in range(0 if image == 3 else rng.integers(3, 12)):
            name, box = names[rng.integers(3)], [*rng.integers(0, 90, 2), *rng.integers(6, 30, 2)]
            box = np.minimum(box, [*box[:2], SIZE[1] - box[0], SIZE[0] - box[1]]).tolist()
            if min(box[2:]) <= 0:
                continue
            annotations.append((name, box, image))
            for _ in range(rng.integers(0, 4)):
                moved = (np.array(box) + rng.integers(-4, 5, 4)).clip([0, 0, 3, 3], [100, 90, 40, 40])
                moved = np.minimum(moved, [*moved[:2], SIZE[1] - moved[0], SIZE[0] - moved[1]]).tolist()
                other = name if rng.random() < 0.7 else names[rng.integers(3)]
                found.append((other, moved, round(float(rng.random()), 1), image))
        for _ in range(3):
            found.append((names[rng.integers(3)], [*rng.integers(0, 80, 2).tolist(), 8, 9], float(rng.random()), image))
    made = truth(*annotations, images=range(1, images + 1))
    for annotation in made["annotations"][::9]:
        annotation["iscrowd"] = 1
    return made, [d for d in detections(*found) if d["image_id"] != 5]
