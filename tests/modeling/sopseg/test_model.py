"""The assembled model: with SAM's decoder it is SAM, and the way prompts are batched changes nothing."""

import copy

import numpy as np
import pytest
import torch
from helpers.sams_predictor import our_logits, sams_answers
from torch.nn import functional as F

from insight import SOPSegPredictor
from insight.modeling.sopseg import DECODERS, PIXEL_MEAN, PIXEL_STD, build_sopseg
from insight.modeling.sopseg.decoders import build_decoder
from insight.modeling.sopseg.encoders import VIT_CONFIGS
from insight.modeling.sopseg.model import SOPSeg
from insight.ops import crop_resize
from insight.structures.crop_masks import logits_to_image, paste_windows
from insight.structures.crop_regions import crop_regions
from insight.structures.oriented_boxes import enclosing_boxes, oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts

BOXES = torch.tensor([[20.0, 30.0, 100.5, 90.25], [60.0, 10.0, 250.0, 255.0], [100.0, 100.0, 130.0, 128.0]])
POINTS = torch.tensor([[[40.0, 50.0], [80.0, 70.0]], [[100.0, 100.0], [10.0, 10.0]], [[110.0, 110.0], [0.0, 0.0]]])
WITH_EDGES = ("edge", "fine")
LABELS = torch.tensor([[1, 1], [1, 0], [1, -1]])
PROMPTS = {
    "boxes": {"boxes": BOXES},
    "points": {"points": POINTS, "labels": LABELS},
    "boxes and points": {"boxes": BOXES, "points": POINTS, "labels": LABELS},
}


def with_decoder(model: SOPSeg, name: str, random_weights) -> SOPSeg:
    encoder = model.image_encoder
    decoder = random_weights(build_decoder(name, encoder.shallow_channels, encoder.fine_channels))
    return SOPSeg(copy.deepcopy(model.image_encoder), copy.deepcopy(model.prompt_encoder), decoder).eval()


@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
@pytest.mark.parametrize("size", [256, 512])
@torch.no_grad()
def test_is_sam(model, twin_of, error_between, size, prompts):
    crop = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size))
    twin = twin_of(model, size)
    embedding = twin.image_encoder(crop)
    points = (prompts["points"], prompts["labels"]) if "points" in prompts else None
    sparse, dense = twin.prompt_encoder(points, prompts.get("boxes"), None)
    arguments = (embedding, twin.prompt_encoder.get_dense_pe(), sparse, dense)
    low_res, iou = twin.mask_decoder(*arguments, multimask_output=False)

    found = model(crop, **prompts)
    assert error_between(found.mask_logits, twin.postprocess_masks(low_res, (size, size), (size, size))) < 1e-4
    assert error_between(found.iou, iou[:, 0]) < 1e-4

    inputs = model.decoder_input(crop, model.encode(crop), Prompts(**prompts))
    for ours, theirs in zip(model.mask_decoder.multimask(inputs), twin.mask_decoder(*arguments, multimask_output=True)):
        assert error_between(ours, theirs) < 1e-4


@torch.no_grad()
def test_is_sams_predictor(model, twin_of, error_between):
    """The whole way of segment-anything's predictor, from pixels to logits in the image."""
    from segment_anything import SamPredictor

    size = 256
    image = torch.randint(
        0, 256, (size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    ).numpy()
    predictor = SamPredictor(twin_of(model, size))
    predictor.transform.target_length = size
    predictor.set_image(image)
    theirs, _, _ = predictor.predict_torch(None, None, BOXES, multimask_output=False, return_logits=True)

    crop = (torch.tensor(image).float() - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    assert error_between(model(crop.permute(2, 0, 1)[None], boxes=BOXES).mask_logits, theirs) < 1e-4


@pytest.mark.parametrize("image_size", [(190, 283), (411, 300), (128, 128)], ids=["wide", "tall", "square"])
@pytest.mark.parametrize("kind", ["boxes", "points"])
@torch.no_grad()
def test_is_sams_predictor_on_images_that_are_resized(model, twin_of, error_between, image_size, kind):
    size = 256
    image = np.random.default_rng(2).integers(0, 256, (*image_size, 3), dtype=np.uint8)
    scale = min(image_size) / 256
    asked = {name: value if name == "labels" else value * scale for name, value in PROMPTS[kind].items()}
    prompts = Prompts(**asked)
    theirs, masks = sams_answers(twin_of(model, size), image, prompts, size)
    assert error_between(our_logits(model, image, prompts, size), theirs) < 1e-4

    points, labels = (value.numpy() if value is not None else None for value in prompts[1:3])
    predictor = SOPSegPredictor(model, input_size=size, magnify=False)
    found = predictor.predict(image=image, boxes=prompts.boxes, points=points, labels=labels).masks.to_bitmaps()
    assert (found != masks).float().mean() < 1e-4 and 0 < masks.float().mean() < 1


@pytest.mark.slow
@torch.no_grad()
def test_vit_b_is_sam(twin_of, random_weights, error_between):
    model = random_weights(build_sopseg("vit_b", "sam"))
    dim, depth, heads, global_blocks = VIT_CONFIGS["vit_b"]
    twin = twin_of(model, 256, dim, depth, heads, global_blocks)
    crop = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    embedding = twin.image_encoder(crop)
    assert error_between(model.encode(crop).embedding, embedding) < 1e-5
    sparse, dense = twin.prompt_encoder((POINTS, LABELS), BOXES, None)
    low_res, iou = twin.mask_decoder(embedding, twin.prompt_encoder.get_dense_pe(), sparse, dense, False)
    found = model(crop, BOXES, POINTS, LABELS)
    assert error_between(found.mask_logits, twin.postprocess_masks(low_res, (256, 256), (256, 256))) < 1e-4
    assert error_between(found.iou, iou[:, 0]) < 1e-4


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_batching_changes_nothing(model, random_weights, error_between, decoder):
    """One crop a prompt, prompts that share crops, and prompts one by one: the same masks."""
    sopseg = with_decoder(model, decoder, random_weights)
    crops = torch.randn(2, 3, 256, 256)
    index = torch.tensor([1, 0, 1])
    shared = sopseg(crops, BOXES, POINTS, LABELS, image_index=index)
    copied = sopseg(crops[index], BOXES, POINTS, LABELS)
    assert shared.mask_logits.shape == (3, 1, 256, 256) and shared.iou.shape == (3,)
    for i in range(3):
        alone = sopseg(crops[index[i]][None], BOXES[i : i + 1], POINTS[i : i + 1], LABELS[i : i + 1])
        for batched in (shared, copied):
            assert error_between(batched.mask_logits[i], alone.mask_logits[0]) < 1e-4
            assert error_between(batched.iou[i], alone.iou[0]) < 1e-4


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_scale_is_there_and_trains(model, random_weights, decoder):
    sopseg = with_decoder(model, decoder, random_weights)
    sopseg.freeze_encoders()
    prediction = sopseg(torch.randn(2, 3, 128, 192), boxes=BOXES[:2] / 2)
    assert prediction.mask_logits.shape == (2, 1, 128, 192)
    assert (prediction.edge_logits is not None) == (decoder in WITH_EDGES)
    for scale, stage in prediction.stages.items():
        assert stage.shape == (2, 2 if decoder in WITH_EDGES else 1, 128 // scale, 192 // scale)
    sum(stage.square().mean() for stage in prediction.stages.values()).add(prediction.iou.sum()).backward()
    untrained = {n for n, p in sopseg.named_parameters() if p.requires_grad and p.grad is None}
    assert not any(parameter.grad is not None for parameter in sopseg.image_encoder.parameters())
    assert not untrained  # what it leaves unused takes no gradient, for which several processes would wait


@torch.no_grad()
def test_one_prompt_a_crop_copies_no_embedding(model):
    crops = torch.randn(3, 3, 128, 128)
    inputs = model.decoder_input(crops, model.encode(crops), Prompts(BOXES / 2))
    assert inputs.image_index is None
    assert inputs.of_prompt(inputs.features.embedding) is inputs.features.embedding


@torch.no_grad()
def test_features_serve_many_prompts(model):
    crops = torch.randn(1, 3, 128, 128)
    features = model.encode(crops)
    together = model.decode(crops, features, Prompts(BOXES / 2))
    assert torch.equal(together.mask_logits, model(crops, boxes=BOXES / 2).mask_logits)


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_no_prompts(model, random_weights, decoder):
    sopseg = with_decoder(model, decoder, random_weights)
    for crops in (torch.zeros(0, 3, 128, 128), torch.zeros(1, 3, 128, 128)):
        prediction = sopseg(crops, boxes=torch.zeros(0, 4))
        assert prediction.mask_logits.shape == (0, 1, 128, 128)
        assert prediction.iou.shape == (0,)


@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_bfloat16_autocast(model, random_weights, error_between, decoder):
    sopseg = with_decoder(model, decoder, random_weights)
    crops = torch.randn(3, 3, 128, 128)
    exact = sopseg(crops, boxes=BOXES / 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = sopseg(crops, boxes=BOXES / 2)
    assert found.mask_logits.dtype == torch.bfloat16
    assert F.cosine_similarity(found.mask_logits.float().flatten(), exact.mask_logits.flatten(), 0) > 0.99


@pytest.mark.parametrize("decoder", ["sam", "edge", "fine"])
@torch.no_grad()
def test_compiles_without_graph_breaks(model, random_weights, error_between, decoder):
    sopseg = with_decoder(model, decoder, random_weights)
    crops = torch.randn(3, 3, 128, 128)
    compiled = torch.compile(sopseg, fullgraph=True, backend="aot_eager")
    found, expected = compiled(crops, boxes=BOXES / 2), sopseg(crops, boxes=BOXES / 2)
    assert error_between(found.mask_logits, expected.mask_logits) < 1e-5


@torch.no_grad()
def test_runs_in_bfloat16_as_a_whole(model, random_weights):
    sopseg = with_decoder(model, "edge", random_weights).bfloat16()
    prediction = sopseg(torch.randn(3, 3, 128, 128, dtype=torch.bfloat16), BOXES / 2, POINTS / 2, LABELS)
    assert prediction.mask_logits.dtype == torch.bfloat16 and prediction.mask_logits.isfinite().all()


@pytest.mark.gpu
@torch.no_grad()
def test_cuda_gives_what_the_cpu_gives(model, random_weights, error_between):
    sopseg = with_decoder(model, "edge", random_weights)
    crops = torch.randn(3, 3, 256, 256)
    expected = sopseg(crops, BOXES, POINTS, LABELS)
    found = sopseg.cuda()(crops.cuda(), BOXES.cuda(), POINTS.cuda(), LABELS.cuda())
    assert error_between(found.mask_logits.cpu(), expected.mask_logits) < 1e-3
    assert error_between(found.edge_logits.cpu(), expected.edge_logits) < 1e-3


@torch.no_grad()
def test_the_scene_around_an_object_does_not_matter(model):
    """The mask of an object in a large scene is the mask of the same object in a cutting of it."""
    scene = torch.randint(0, 256, (1, 3, 300, 400), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    corners = oriented_corners([[210.3, 140.8, 30, 12, 25], [235.0, 160.5, 9, 20, 80]])
    masks = []
    for left, top, right, bottom in ((0, 0, 400, 300), (150, 90, 300, 220)):
        shifted = corners - torch.tensor([float(left), float(top)])
        regions = crop_regions(enclosing_boxes(shifted))
        crops = crop_resize(scene[..., top:bottom, left:right], regions, 128, mean=PIXEL_MEAN, std=PIXEL_STD)
        logits = model(crops, *oriented_prompts(shifted).to_crops(regions, 128)).mask_logits[:, 0]
        size = (bottom - top, right - left)
        masks.append(
            (paste_windows(logits_to_image(logits, regions), size) > 0)[
                :, 90 - top : 220 - top, 150 - left : 300 - left
            ]
        )
    assert masks[0].flatten(1).any(1).all()
    assert (masks[0] != masks[1]).float().mean() < 1e-4  # float32 coordinates differ in their last digits


def test_prompts_must_say_their_crop(model):
    with pytest.raises(ValueError, match="the crop of each of the 3 prompts, as there are 2 crops; got none"):
        model(torch.zeros(2, 3, 128, 128), boxes=BOXES)


def test_unknown_decoder():
    with pytest.raises(ValueError, match="expected one of sam, hq, matting, edge, fine, got 'sharp'"):
        build_sopseg("vit_t", "sharp")


@torch.no_grad()
def test_ready_for_inference_on_a_cpu_it_answers_as_before(random_weights, error_between):
    model = random_weights(build_sopseg("vit_t", "edge")).train()
    crops, boxes = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)), BOXES[[0, 2]]
    expected = copy.deepcopy(model).eval()(crops, boxes).mask_logits
    assert model.for_inference("cpu") is model and not model.training
    kernels = [p for p in model.parameters() if p.dim() == 4 and p[0].numel() > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    assert error_between(model(crops, boxes).mask_logits, expected) < 1e-4
    assert {p.dtype for p in model.for_inference("cpu", torch.bfloat16).parameters()} == {torch.bfloat16}


@torch.no_grad()
def test_the_fine_decoder_starts_where_sopsegs_does(model, error_between):
    """Both corrections are initialised to zero, so that the first masks are those of SAM's tokens."""
    masks = []
    for name in ("edge", "fine"):
        decoder = build_decoder(name, model.image_encoder.shallow_channels)
        decoder.load_state_dict(model.mask_decoder.state_dict(), strict=False)
        decoder.initialise_from_sam()
        sopseg = SOPSeg(model.image_encoder, model.prompt_encoder, decoder).eval()
        crops = torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
        masks.append(sopseg(crops, boxes=BOXES / 2).mask_logits)
    assert masks[0].std() > 0.1 and error_between(masks[1], masks[0]) < 1e-5


@torch.no_grad()
def test_the_fine_decoder_sees_the_turn_of_a_box(model, random_weights):
    """Two oriented boxes with the same enclosing box and points differ by their corners alone."""
    sopseg = with_decoder(model, "fine", random_weights)
    crops = torch.randn(1, 3, 128, 128)
    corners = oriented_corners([[64, 64, 80, 24, 30], [64, 64, 80, 24, 30]])
    prompts = oriented_prompts(corners)
    prompts.corners[1] = oriented_corners([[64, 64, 60, 40, 30]])[0]
    masks = sopseg.decode(crops, sopseg.encode(crops), prompts).mask_logits
    assert (masks[0] - masks[1]).abs().max() > 1e-3


@torch.no_grad()
def test_the_fine_decoder_sees_fine_features(random_weights):
    sopseg = random_weights(build_sopseg("vit_t", "fine")).eval()
    crops = torch.randn(1, 3, 128, 128)
    features = sopseg.encode(crops)
    assert [x.shape[1:] for x in features.fine] == [(64, 32, 32), (128, 16, 16)]
    seen = sopseg.decode(crops, features, Prompts(BOXES[:1] / 2)).mask_logits
    for i in range(2):
        changed = [torch.zeros_like(x) if i == k else x for k, x in enumerate(features.fine)]
        unseen = sopseg.decode(crops, features._replace(fine=tuple(changed)), Prompts(BOXES[:1] / 2)).mask_logits
        assert (seen - unseen).abs().max() > 1e-3
