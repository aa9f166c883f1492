"""Checkpoints load completely or not at all, and an error says what is wrong with the file."""

import argparse

import pytest
import torch

from insight.modeling.sopseg import build_sopseg, load_sopseg
from insight.modeling.sopseg.checkpoint import identify, read_state_dict


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


@pytest.mark.parametrize("decoder", ["hq", "matting", "edge"])
def test_own_checkpoints_come_back(tmp_path, decoder):
    model = build_sopseg("vit_t", decoder)
    torch.save({"model": model.state_dict(), "iteration": 7}, tmp_path / "model.pth")
    loaded = load_sopseg(tmp_path / "model.pth", encoder="vit_t", decoder=decoder).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(ValueError, match=f"holds the mask decoder '{decoder}', expected 'sam' or plain SAM"):
        load_sopseg(tmp_path / "model.pth", decoder="sam")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights: .*nowhere.pth: no such file"):
        load_sopseg(tmp_path / "nowhere.pth")


def test_wrong_encoder(sam_file):
    with pytest.raises(ValueError, match="mobile_sam.pt holds a vit_t image encoder, expected vit_l"):
        load_sopseg(sam_file, encoder="vit_l")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is corrupt or no PyTorch checkpoint"),
        (b"this is a text file", "is corrupt or no PyTorch checkpoint"),
        (b"\x89PNG\r\n\x1a\n", "is no PyTorch checkpoint"),
    ],
)
def test_no_checkpoint(tmp_path, content, message):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_sopseg(tmp_path / "file.pth")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_checkpoint(tmp_path, sam_state, zipped):
    torch.save(sam_state, tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.pth is corrupt") as error:
        load_sopseg(tmp_path / "cut.pth")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, sam_state, value):
    name = "mask_decoder.iou_token.weight"
    broken = sam_state[name].clone()
    broken[0, 3] = value
    torch.save({**sam_state, name: broken}, tmp_path / "diverged.pth")
    with pytest.raises(ValueError, match=f"diverged.pth: {name} holds NaN or infinity"):
        load_sopseg(tmp_path / "diverged.pth")


def test_pickled_objects_are_refused(tmp_path, sam_state):
    torch.save({"model": sam_state, "args": argparse.Namespace(lr=1)}, tmp_path / "training.pth")
    with pytest.raises(ValueError, match="training.pth holds Python objects, which would need pickle; save its state"):
        load_sopseg(tmp_path / "training.pth")


def test_no_state_dict(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="other.pth holds no state dict"):
        read_state_dict(tmp_path / "other.pth")


def test_other_models_are_told_apart():
    with pytest.raises(ValueError, match="file is a checkpoint of another model; expected SAM"):
        identify({"backbone.weight": torch.zeros(1)}, "file")
    with pytest.raises(ValueError, match="file is a checkpoint of SAM 2"):
        identify({"image_encoder.trunk.pos_embed": torch.zeros(1)}, "file")
    small = {
        "image_encoder.pos_embed": torch.zeros(1, 14, 14, 384),
        "image_encoder.blocks.0.norm1.weight": torch.ones(1),
    }
    with pytest.raises(ValueError, match=r"holds a ViT with 1 blocks of 384 channels; expected vit_b \(12 of 768\)"):
        identify(small, "file")


def test_wrong_size(tmp_path, sam_state):
    name = "image_encoder.layers.2.blocks.0.attn.attention_biases"
    torch.save({**sam_state, name: torch.zeros(5, 49)}, tmp_path / "size.pth")
    with pytest.raises(ValueError, match=rf"size.pth has {name} of shape \(5, 49\), expected \(5, 196\)"):
        load_sopseg(tmp_path / "size.pth")


def test_incomplete_or_foreign_tensors(tmp_path, sam_state):
    lacking = {name: tensor for name, tensor in sam_state.items() if name != "mask_decoder.iou_token.weight"}
    torch.save(lacking, tmp_path / "lacking.pth")
    with pytest.raises(ValueError, match=r"it lacks mask_decoder.iou_token.weight \(1 missing, 0 unknown\)"):
        load_sopseg(tmp_path / "lacking.pth", decoder="edge")
    torch.save({**sam_state, "adapter.weight": torch.zeros(1)}, tmp_path / "adapter.pth")
    with pytest.raises(ValueError, match=r"an unknown tensor adapter.weight \(0 missing, 1 unknown\)"):
        load_sopseg(tmp_path / "adapter.pth")
