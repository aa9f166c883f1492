"""Model folders: what is written is read back, and what is not a model, or damaged, is one line."""

import hashlib
import json

import pytest
import torch
from helpers.model_folders import write_tiny_sopseg
from safetensors.torch import load_file

from insight.hub import ModelError, read_model
from insight.hub.model_folder import ModelFolder, SOPSegArchitecture
from insight.hub.writing import write_model

METRICS = {"scenes_val": {"prompted": {"mIoU": 80.25, "boundary mIoU": None}}}
ABOUT = {"license": "mit", "gsd": (0.1, 0.5), "metrics": METRICS, "training": {"data": "scenes_train", "steps": 3}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_tiny_sopseg(tmp_path / "tiny", monkeypatch, **ABOUT)
    return tmp_path / "tiny"


def change(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_model_is_three_files_and_reads_back(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    model = read_model(folder)
    assert (model.name, model.kind, model.license, model.gsd) == ("tiny", "sopseg", "mit", (0.1, 0.5))
    assert model.metrics == METRICS and model.training["steps"] == 3
    assert model.architecture == SOPSegArchitecture("vit_b", "sam", 64, "oriented_box")
    assert model.sha256 == hashlib.sha256(model.weights.read_bytes()).hexdigest()
    assert model.size == model.weights.stat().st_size


def test_large_tensors_are_halved_small_ones_and_those_out_of_range_are_not(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {
        "large": torch.randn(64, 65, generator=generator),
        "small": torch.randn(63, 65, generator=generator),
        "wide": 1e6 * torch.randn(64, 65, generator=generator),
        "count": torch.tensor(7),
        "transposed": torch.randn(65, 64, generator=generator).T,
    }
    keys = SOPSegArchitecture("vit_t", "sam")
    model = write_model(ModelFolder(tmp_path / "m", "m", "sopseg", "", architecture=keys), weights)
    stored = load_file(model.weights)
    kinds = {name: tensor.dtype for name, tensor in stored.items()}
    assert kinds == {
        "large": torch.float16,
        "small": torch.float32,
        "wide": torch.float32,
        "count": torch.int64,
        "transposed": torch.float16,
    }
    for name, tensor in weights.items():
        torch.testing.assert_close(stored[name].to(tensor.dtype), tensor, rtol=2**-11, atol=1e-7)


def test_the_same_weights_give_the_same_file(tmp_path, monkeypatch):
    digests = {write_tiny_sopseg(tmp_path / name, monkeypatch)[0].sha256 for name in ("a", "b")}
    assert len(digests) == 1


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = ModelFolder(tmp_path / "m", "m", "sopseg", "", architecture=SOPSegArchitecture("vit_t", "sam"))
    with pytest.raises(ValueError, match=r"^m: bias holds NaN or infinity"):
        write_model(model, {"bias": torch.tensor([float("nan")])})
    assert not (tmp_path / "m").exists()


def test_a_folder_with_other_files_is_not_written_to(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"expected a new or empty folder, or a model to replace; it holds thesis.tex"):
        write_tiny_sopseg(tmp_path / "mine", monkeypatch)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="of transformers"):
        write_tiny_sopseg(tmp_path / "bert", monkeypatch)
    assert (tmp_path / "bert" / "config.json").read_text() == '{"model_type": "bert"}'


@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_damaged_weights_are_one_line(folder, damage):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "changed":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "truncated":
        path.write_bytes(content[:1000])
    else:
        path.unlink()
    said = {"missing": "no such file; the model is incomplete"}.get(damage, "damaged or changed: expected the sha256")
    with pytest.raises(ModelError, match=rf"model.safetensors: {said}") as caught:
        read_model(folder).weights  # noqa: B018
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"format": "insight-mo', r"config.json: not JSON .*; the file is damaged, get the model again"),
        ("[1, 2]", "config.json: expected a JSON object, got list"),
        ("{}", 'not a model of insight: expected "format": "insight-model"'),
        ('{"architectures": ["SamModel"], "transformers_version": "4.9"}', "not a model of insight: it is of transfor"),
        ('{"_class_name": "X"}', "not a model of insight: it is of diffusers"),
        ('{"pretrained_cfg": {}}', "not a model of insight: it is of timm"),
        ('{"format": "insight-model", "format_version": 2}', "is of format version 2, this insight reads 1: inst"),
        (
            '{"format": "insight-model", "format_version": true}',
            "format_version: expected a positive integer, got T",
        ),
        ('{"format": "insight-model"}', "format_version: expected a positive integer, got None"),
    ],
)
def test_what_is_not_a_model_is_one_line(folder, text, said):
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=said) as caught:
        read_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "classifier"}, "kind: expected sopseg or detector, got 'classifier'"),
        ({"name": 3}, "name: expected a text, got 3"),
        ({"weights": None}, "weights: expected an object, got None"),
        ({"weights": {}}, "weights.sha256: expected a text, got None"),
        ({"architecture": {"encoder": "vit_t"}}, "architecture.decoder: expected a text, got None"),
        ({"architecture": {"encoder": "x", "decoder": "y", "dense": 1}}, "architecture.dense: unknown; install a new"),
        ({"gsd": [2, 1]}, "gsd: expected the smallest and the largest"),
        ({"metrics": {"a": {"b": {"c": "d"}}}}, "metrics: expected numbers by dataset, task and metric, got 'a'"),
        ({"metrics": {"a": 3}}, "metrics: expected numbers"),
        ({"score_threshold": "high"}, "score_threshold: expected a number, got 'high'"),
        ({"kind": "detector", "config": {}, "class_names": [1]}, "class_names: expected a list of names"),
        ({"kind": "detector", "config": {"SOLVER": {}}}, "config: expected the sections MODEL, INPUT, DATASETS, TEST"),
    ],
)
def test_wrong_values_name_their_key(folder, changes, said):
    change(folder, **changes)
    with pytest.raises(ModelError, match=f"config.json: {said}"):
        read_model(folder)


def test_a_folder_without_a_config_and_no_folder(tmp_path):
    with pytest.raises(ModelError, match="it has no config.json; `insight models export` makes one"):
        read_model(tmp_path)
    with pytest.raises(ModelError, match="no such model folder"):
        read_model(tmp_path / "nothing")
