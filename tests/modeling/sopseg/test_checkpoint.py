"""Checkpoints load completely or not at all, and an error says what is wrong with the file."""

import pytest
import torch

from insight.checkpoint import CheckpointError
from insight.modeling.sopseg import build_sopseg, load_sopseg
from insight.modeling.sopseg.checkpoint import identify


@pytest.fixture(scope="module")
def sam_state():
    torch.manual_seed(0)
    state = build_sopseg("vit_t", "sam").state_dict()
    # MobileSAM's file carries TinyViT's unused classifier.
    state["image_encoder.head.weight"] = torch.zeros(1000, 320)
    state["image_encoder.head.bias"] = torch.zeros(1000)
    state["image_encoder.norm_head.weight"] = torch.zeros(320)
    state["image_encoder.norm_head.bias"] = torch.zeros(320)
    return state


@pytest.fixture(scope="module")
def sam_file(sam_state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobile_sam.pt"
    torch.save(sam_state, path)
    return path


def test_mobile_sam_layout_loads_strictly(sam_file, sam_state):
    model = load_sopseg(sam_file)
    assert not model.training
    loaded = model.state_dict()
    assert {n for n in sam_state if n not in loaded} == {n for n in sam_state if "head." in n and "image_encoder" in n}
    assert all(torch.equal(loaded[name], sam_state[name]) for name in loaded)
    build_sopseg("vit_t", "sam").load_state_dict(sam_state, strict=True)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_segment_anything_layout_loads_strictly(name):
    """Names and shapes of segment-anything's own models, without the memory for them."""
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        theirs = sam_model_registry[name]().state_dict()
        ours = build_sopseg(name, "sam").state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}
    assert identify(theirs, "file") == (name, "sam")


def test_edge_branch_starts_from_sams_mask(sam_file, sam_state):
    decoder = load_sopseg(sam_file, decoder="edge").mask_decoder
    assert torch.equal(decoder.edge_token.weight, sam_state["mask_decoder.mask_tokens.weight"][:1])
    first = decoder.output_hypernetworks_mlps[0].state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in decoder.edge_mlp.state_dict().items())
    upscaling = decoder.output_upscaling.state_dict()
    assert all(torch.equal(tensor, upscaling[name]) for name, tensor in decoder.edge_upscaling.state_dict().items())


@pytest.mark.parametrize("decoder", ["hq", "matting", "edge", "fine"])
def test_own_checkpoints_come_back(tmp_path, decoder):
    model = build_sopseg("vit_t", decoder)
    torch.save({"model": model.state_dict(), "iteration": 7}, tmp_path / "model.pth")
    loaded = load_sopseg(tmp_path / "model.pth", encoder="vit_t", decoder=decoder).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(CheckpointError, match=f"expected the mask decoder 'sam' or SAM's, got '{decoder}'"):
        load_sopseg(tmp_path / "model.pth", decoder="sam")


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere.pth: no such checkpoint"):
        load_sopseg(tmp_path / "nowhere.pth")


def test_wrong_encoder(sam_file):
    with pytest.raises(CheckpointError, match="mobile_sam.pt: expected the image encoder vit_l, got vit_t"):
        load_sopseg(sam_file, encoder="vit_l")


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "file.pth").write_bytes(b"this is a text file")
    with pytest.raises(CheckpointError, match="file.pth: damaged, or not a weight file"):
        load_sopseg(tmp_path / "file.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, sam_state, value):
    name = "mask_decoder.iou_token.weight"
    broken = sam_state[name].clone()
    broken[0, 3] = value
    torch.save({**sam_state, name: broken}, tmp_path / "diverged.pth")
    with pytest.raises(CheckpointError, match=f"diverged.pth: {name} holds NaN or infinity"):
        load_sopseg(tmp_path / "diverged.pth")


def test_other_models_are_told_apart():
    with pytest.raises(CheckpointError, match="^file: expected a checkpoint of SAM .*, got another model$"):
        identify({"backbone.weight": torch.zeros(1)}, "file")
    with pytest.raises(CheckpointError, match="^file: expected a checkpoint of SAM .*, got SAM 2$"):
        identify({"image_encoder.trunk.pos_embed": torch.zeros(1)}, "file")
    small = {
        "image_encoder.pos_embed": torch.zeros(1, 14, 14, 384),
        "image_encoder.blocks.0.norm1.weight": torch.ones(1),
    }
    with pytest.raises(CheckpointError, match=r"vit_b \(12 of 768\), .* got a ViT with 1 blocks of 384 channels"):
        identify(small, "file")


def test_wrong_size(tmp_path, sam_state):
    name = "image_encoder.layers.2.blocks.0.attn.attention_biases"
    torch.save({**sam_state, name: torch.zeros(5, 49)}, tmp_path / "size.pth")
    with pytest.raises(CheckpointError, match=rf"size.pth: {name}: expected shape \(5, 196\), got \(5, 49\)"):
        load_sopseg(tmp_path / "size.pth")


def test_incomplete_or_foreign_tensors(tmp_path, sam_state):
    lacking = {name: tensor for name, tensor in sam_state.items() if name != "mask_decoder.iou_token.weight"}
    torch.save(lacking, tmp_path / "lacking.pth")
    with pytest.raises(CheckpointError, match=r"mask_decoder.iou_token.weight is missing \(1 missing, 0 unknown\)"):
        load_sopseg(tmp_path / "lacking.pth", decoder="edge")
    torch.save({**sam_state, "adapter.weight": torch.zeros(1)}, tmp_path / "adapter.pth")
    with pytest.raises(CheckpointError, match=r"adapter.weight is unknown \(0 missing, 1 unknown\)"):
        load_sopseg(tmp_path / "adapter.pth")
