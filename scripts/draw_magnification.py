"""Draw docs/images/magnification.png: objects of drawn scenes, as a whole image and a magnified crop show them.

python scripts/draw_magnification.py WEIGHTS [FILE]

Each row is an object: its scene with the prompt, its surroundings in the scene's own pixels, the magnified crop, the
ground truth, and the mask and the edges that SOPSeg predicts.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from insight.data.scenes import Scene, SceneInstance, draw_scene
from insight.modeling.sopseg import SOPSeg, encode_regions, load_sopseg
from insight.modeling.sopseg.crop_size import default_crop_size
from insight.modeling.sopseg.prompt_form import in_form
from insight.structures.crop_masks import masks_to_crops
from insight.structures.crop_plans import plan_crops
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompts import oriented_prompts

OBJECTS = (
    ("harbour", 3, "ship"),
    ("apron", 8, "airplane"),
    ("car_park", 2, "vehicle"),
    ("tank_farm", 4, "storage_tank"),
)
TITLES = ("scene and prompt", "pixels of the scene", "magnified crop", "ground truth", "mask", "edges")
SCENE = (512, 512)  # height, width of a scene, pixels
PANEL, TITLE, GAP = 190, 22, 4  # pixels
PROMPT, TRUE, FOUND = (255, 200, 0), (60, 220, 90), (40, 150, 255)  # RGB


def main(weights: str, file: str = "docs/images/magnification.png") -> None:
    """Draw the picture."""
    model = load_sopseg(weights).for_inference("cpu")
    rows = [titles()] + [np.hstack(list(gapped(panels(model, *one)))) for one in OBJECTS]
    picture = Image.fromarray(np.vstack(list(gapped(rows, axis=0))))
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"wrote {file}, {Path(file).stat().st_size // 1024} KB")


def panels(model: SOPSeg, kind: str, seed: int, category: str) -> list[np.ndarray]:
    """Draw the panels of one object."""
    scene = draw_scene(seed, SCENE, kind, "optical")
    one = typical(scene, category)
    corners = oriented_corners([one.oriented_box])
    prompts = in_form(oriented_prompts(corners), model)
    size = default_crop_size(model)
    plan = plan_crops(prompts, SCENE, size)
    image = torch.from_numpy(scene.image.transpose(2, 0, 1).copy())
    with torch.no_grad():
        encoded = encode_regions(model, image, plan, size)
        found = model.decode(encoded.crops, encoded.features, prompts.to_crops(plan.regions, size))
    x1, y1, x2, y2 = plan.regions[0].tolist()
    magnified = warp(scene.image, (x1, y1, x2, y2), cv2.INTER_CUBIC)
    truth = masks_to_crops(torch.from_numpy(one.full_mask(SCENE))[None], plan.regions, PANEL)[0].numpy()
    mask = cv2.resize(found.mask_logits[0, 0].numpy(), (PANEL, PANEL)) > 0
    edges = cv2.resize(found.edge_logits[0, 0].sigmoid().numpy(), (PANEL, PANEL))
    whole = cv2.resize(scene.image, (PANEL, PANEL), interpolation=cv2.INTER_AREA)
    box = (corners[0].numpy() - np.array([x1, y1])) * PANEL / (x2 - x1)
    return [
        outlined(whole, corners[0].numpy() * PANEL / SCENE[1], PROMPT),
        warp(scene.image, (x1, y1, x2, y2), cv2.INTER_NEAREST),
        outlined(magnified, box, PROMPT),
        filled(magnified, truth, TRUE),
        filled(magnified, mask, FOUND),
        np.repeat((255 * edges).astype(np.uint8)[..., None], 3, 2),
    ]


def typical(scene: Scene, category: str) -> SceneInstance:
    """Choose the object of median size of a class, among those well inside the scene."""
    inside = [
        one
        for one in scene.instances
        if one.category == category
        and min(one.box[:2]) > 20
        and one.box[0] + one.box[2] < SCENE[1] - 20
        and one.box[1] + one.box[3] < SCENE[0] - 20
    ]
    if not inside:
        raise SystemExit(f"no {category} inside the scene; choose another seed in OBJECTS")
    return sorted(inside, key=lambda one: one.mask.sum())[len(inside) // 2]


def warp(image: np.ndarray, region: tuple[float, float, float, float], how: int) -> np.ndarray:
    """Enlarge a region of an image to a panel."""
    x1, y1, x2, _ = region
    scale = (x2 - x1) / PANEL
    to_image = np.array([[scale, 0, x1 + scale / 2 - 0.5], [0, scale, y1 + scale / 2 - 0.5]])
    return cv2.warpAffine(image, to_image, (PANEL, PANEL), flags=how | cv2.WARP_INVERSE_MAP)


def outlined(panel: np.ndarray, corners: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Draw a box."""
    drawn = panel.copy()
    cv2.polylines(drawn, [np.round(16 * corners).astype(np.int32)], True, color, 1, cv2.LINE_AA, 4)
    return drawn


def filled(panel: np.ndarray, mask: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Tint a mask and draw its outline."""
    drawn = panel.copy()
    drawn[mask] = (0.6 * drawn[mask] + 0.4 * np.array(color)).astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, color, 1)
    return drawn


def titles() -> np.ndarray:
    """Draw the line of headings."""
    cells = []
    for text in TITLES:
        cell = np.full((TITLE, PANEL, 3), 255, np.uint8)
        cv2.putText(cell, text, (4, TITLE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
        cells.append(cell)
    return np.hstack(list(gapped(cells)))


def gapped(parts, axis: int = 1):
    """Put white gaps between pictures."""
    for i, part in enumerate(parts):
        if i:
            shape = (part.shape[0], GAP, 3) if axis else (GAP, part.shape[1], 3)
            yield np.full(shape, 255, np.uint8)
        yield part


if __name__ == "__main__":
    main(*sys.argv[1:])
