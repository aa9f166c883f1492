"""SOPSeg in ONNX Runtime, compared with the model in PyTorch."""

import json
import sys

import numpy as np
import pytest
import torch
from helpers.model_folders import write_tiny_detector
from helpers.tiny_sopseg import DEPTH, DIM, GLOBAL_BLOCKS, HEADS, randomise

import insight.hub.onnx_export as onnx_export
from insight.errors import InputError, InsightError, MissingDependencyError
from insight.hub.model_folder import ModelError, ModelFolder, SOPSegArchitecture
from insight.hub.onnx_export import export_onnx
from insight.hub.writing import write_model
from insight.modeling.sopseg import PIXEL_MEAN, PIXEL_STD, build_sopseg
from insight.modeling.sopseg.encoders import VIT_CONFIGS
from insight.structures.crop_regions import CropSchedule
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompts import oriented_prompts

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZE = 64
BOXES = oriented_corners([[30, 34, 40, 12, 20], [20, 30, 10, 30, 0], [40, 40, 20, 20, -70.0]])


@pytest.fixture(scope="module")
def tiny_encoder():
    """As long as the module's tests, "vit_b" is small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VIT_CONFIGS, "vit_b", (DIM, DEPTH, HEADS, GLOBAL_BLOCKS))
        yield


def write_sopseg(folder, decoder="edge", prepare=lambda model: None, **about):
    model = build_sopseg("vit_b", decoder)
    prepare(model)
    randomise(model)
    keys = {"input_size": SIZE, **about.pop("architecture", {})}
    architecture = SOPSegArchitecture(encoder="vit_b", decoder=decoder, **keys)
    about = {"name": "tiny", "kind": "sopseg", "sha256": "", "architecture": architecture, "license": "mit"} | about
    return write_model(ModelFolder(path=folder, **about), model.state_dict(), half=False), model


@pytest.fixture(
    scope="module", params=["fine", *(pytest.param(decoder, marks=pytest.mark.slow) for decoder in ("edge", "sam"))]
)
def exported(request, tmp_path_factory, tiny_encoder):
    """Sessions of both files, and the model that they were made of."""
    folder = tmp_path_factory.mktemp("onnx")
    source, model = write_sopseg(folder / "model", request.param)
    files = export_onnx(source.path, folder / "edge")
    assert 0 < files.difference < 1e-3 and files.encoder.parent == folder / "edge"
    return onnxruntime.InferenceSession(files.encoder), onnxruntime.InferenceSession(files.decoder), model


def run(encoder, decoder, crops, corners, points, labels):
    given = {"crops": crops, "corners": corners, "points": points, "labels": labels}
    given = {name: part.numpy() for name, part in given.items()}
    given |= zip([part.name for part in encoder.get_outputs()], encoder.run(None, {"crops": given["crops"]}))
    return decoder.run(["logits", "iou"], {part.name: given[part.name] for part in decoder.get_inputs()})


@pytest.mark.parametrize(
    ("count", "clicks"),
    [(1, []), (3, []), (2, None), (1, [[30.0, 31.0, 1], [3.0, 60.0, 0]]), (3, [[30.0, 31.0, 0], [0.0, 0.0, -1]])],
)
def test_the_runtime_gives_the_models_answers(exported, count, clicks):
    """Oriented boxes with the points of their axes, with clicks besides, and (None) boxes without points."""
    encoder, decoder, model = exported
    crops = 255 * torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    prompts = oriented_prompts(BOXES[:count])
    if clicks is None:
        prompts = prompts._replace(points=torch.empty(count, 0, 2), labels=torch.empty(count, 0, dtype=torch.int64))
    elif clicks:
        more = torch.tensor(clicks).expand(count, -1, -1)
        points = torch.cat([prompts.points, more[..., :2]], 1)
        prompts = prompts._replace(points=points, labels=torch.cat([prompts.labels, more[..., 2].long()], 1))
    mean, std = (torch.tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    points, labels = (None, None) if clicks is None else (prompts.points, prompts.labels)
    with torch.no_grad():
        expected = model((crops - mean) / std, prompts.boxes, points, labels, corners=prompts.corners)
    logits, iou = run(encoder, decoder, crops, prompts.corners, prompts.points, prompts.labels)
    assert logits.shape == (count, SIZE, SIZE) and expected.mask_logits.std() > 0.1
    np.testing.assert_allclose(logits, expected.mask_logits[:, 0], atol=1e-3)
    np.testing.assert_allclose(iou, expected.iou, atol=1e-4)


def test_the_files_say_how_to_use_them(exported):
    for session in exported[:2]:
        about = session.get_modelmeta().custom_metadata_map
        assert (about["name"], about["license"], about["crop_size"]) == ("tiny", "mit", str(SIZE))
        assert about["prompt"] == "oriented_box"
        assert CropSchedule(**json.loads(about["crop_schedule"])) == CropSchedule()


def test_models_that_cannot_be_exported(tmp_path, tiny_encoder, monkeypatch):
    source, _ = write_sopseg(tmp_path / "model", "sam")
    with pytest.raises(InputError, match="input_size: expected a multiple of 64 up to 1024, got 100"):
        export_onnx(source, tmp_path / "edge", 100)
    source, _ = write_sopseg(tmp_path / "whole", "sam", architecture={"magnify": False})
    with pytest.raises(InputError, match="tiny: a model for whole images cannot be exported"):
        export_onnx(source, tmp_path / "edge")
    source, _ = write_sopseg(tmp_path / "angles", "sam", prepare=lambda model: model.prompt_encoder.add_angle_token())
    with pytest.raises(InputError, match="tiny: a model that embeds the angles"):
        export_onnx(source, tmp_path / "edge")
    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"tiny: an encoder of \d\.\d GB does not fit"):
        patch.setattr(onnx_export, "_LARGEST", 1000)
        export_onnx(write_sopseg(tmp_path / "large", "sam")[0], tmp_path / "edge")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"ONNX: onnxscript is not installed; run `pip install 'insight-s"):
        export_onnx(source, tmp_path / "edge")


def test_a_detector_cannot_be_exported(tmp_path, prompt_cfg, prompt_model):
    detector = write_tiny_detector(tmp_path / "detector", prompt_cfg, prompt_model, class_names=("square", "bar"))
    with pytest.raises(ModelError, match="detector: expected a SOPSeg model, got a detector"):
        export_onnx(detector, tmp_path / "edge")
    assert not (tmp_path / "edge").exists()


def test_nothing_is_written_if_the_runtime_gives_other_answers(tmp_path, tiny_encoder, monkeypatch):
    source, _ = write_sopseg(tmp_path / "model", "sam")
    monkeypatch.setattr(onnx_export, "_graph", lambda *_: None)
    monkeypatch.setattr(onnx_export, "_content", lambda *_: b"")
    monkeypatch.setattr(onnx_export, "_compare", lambda *_: 0.5)
    with pytest.raises(InsightError, match=r"tiny: ONNX Runtime's answers differ from PyTorch's by 0\.5"):
        export_onnx(source, tmp_path / "edge")
    assert not list((tmp_path / "edge").iterdir())


def test_answers_that_are_not_numbers_are_refused(tmp_path, tiny_encoder, monkeypatch):
    class Session:
        """Answers with NaN, as a runtime whose sums overflow."""

        def __init__(self, *_, **__):
            pass

        def get_outputs(self):
            return []

        def get_inputs(self):
            return []

        def run(self, names, inputs):
            return [np.full((len(inputs.get("crops", "x")), SIZE, SIZE), np.nan, np.float32), np.zeros(1, np.float32)]

    source, _ = write_sopseg(tmp_path / "model", "sam")
    monkeypatch.setattr(onnx_export, "_graph", lambda *_: None)
    monkeypatch.setattr(onnx_export, "_content", lambda *_: b"")
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(InsightError, match="differ from PyTorch's by nan"):
        export_onnx(source, tmp_path / "edge")
    assert not list((tmp_path / "edge").iterdir())


@torch.no_grad()
def test_a_model_of_horizontal_boxes_sees_no_others(tiny_encoder):
    model = build_sopseg("vit_b", "fine").eval()  # whose decoder draws boxes
    randomise(model)
    crops = 255 * torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    expected = model((crops - mean) / std, torch.cat([BOXES.amin(1), BOXES.amax(1)], 1))
    features = onnx_export._Encoder(model)(crops)
    nothing = torch.empty(3, 0, 2), torch.empty(3, 0, dtype=torch.int64)
    for horizontal in (True, False):
        logits, _ = onnx_export._Decoder(model, horizontal)(crops, *features, BOXES, *nothing)
        assert torch.allclose(logits, expected.mask_logits[:, 0], atol=1e-4) == horizontal
