"""Export of SOPSeg to ONNX: an encoder and a decoder, for devices without PyTorch."""

import io
import json
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from insight.errors import InputError, InsightError, MissingDependencyError
from insight.modeling.sopseg import PIXEL_MEAN, PIXEL_STD, ImageFeatures, SOPSeg, load_sopseg
from insight.modeling.sopseg.encoders import check_input_size
from insight.runtime.atomic_files import atomic_write
from insight.structures.crop_regions import CropSchedule
from insight.structures.oriented_boxes import box_corners, oriented_prompt_points
from insight.structures.prompts import oriented_prompts
from insight.version import __version__

from .finding import find
from .model_folder import ModelFolder

if TYPE_CHECKING:
    from onnx import ModelProto

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
PROMPTS = ("corners", "points", "labels")
_FEATURES = ("embedding", "shallow", "fine_4", "fine_8")
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_LARGEST = 2_000_000_000  # bytes of weights; protobuf's limit is 2 GiB
_TOLERANCE = 1e-3  # of logits and IoU; runtimes order sums differently


class ExportedModel(NamedTuple):
    """The files of an export.

    Attributes:
        encoder: from crops to features.
        decoder: from crops, features and prompts to logits.
        difference: largest difference of logits and predicted IoU between ONNX Runtime and PyTorch, over random crops.
    """

    encoder: Path
    decoder: Path
    difference: float


def export_onnx(
    name_or_folder: str | os.PathLike | ModelFolder, folder: str | os.PathLike, input_size: int | None = None
) -> ExportedModel:
    """Write a SOPSeg model as two ONNX files, and compare them with PyTorch in ONNX Runtime.

    Both take any number N of square crops, one prompt each. The encoder maps `crops` to features; the decoder maps
    `crops`, the features and the prompts to `logits` (N, s, s), with the mask where they are above 0, and `iou` (N,),
    predicted. A prompt consists of the corners of a box (N, 4, 2) and of P points (N, P, 2) with labels (N, P), in
    pixels of the crop. P may be 0: oriented boxes come with their `oriented_prompt_points`, horizontal ones, and all
    those of a model with the `prompt` "box" in the metadata, without points; clicks may follow. Cutting crops is left
    to the caller.

    Args:
        name_or_folder: a SOPSeg model, see `insight.hub.find`.
        folder: where `encoder.onnx` and `decoder.onnx` are written.
        input_size: side s of the crops, pixels, a multiple of 64 up to 1024; None for that of the model.

    Returns:
        The files.

    Raises:
        InputError: a detector, a model for whole images, one that embeds angles, one too large, or another
            size.
        MissingDependencyError: a package of the extra `onnx` is not installed.
        InsightError: the runtime's answers differ.
        OSError: the folder cannot be written to.
    """
    _require_packages()
    source = find(name_or_folder)
    source.require_kind("sopseg")
    assert source.architecture is not None
    side = source.architecture.input_size if input_size is None else input_size
    check_input_size(side, "input_size")
    if not source.architecture.magnify:
        raise InputError(f"{source.name}: a model for whole images cannot be exported to ONNX, only one for crops")
    Path(folder).mkdir(parents=True, exist_ok=True)
    model = load_sopseg(source.weights, source.architecture.encoder).eval()
    if model.prompt_encoder.angle_embed is not None:
        raise InputError(f"{source.name}: a model that embeds the angles of boxes cannot be exported to ONNX")
    size = sum(4 * tensor.numel() for tensor in model.image_encoder.state_dict().values())
    if size > _LARGEST:
        raise InputError(
            f"{source.name}: an encoder of {size / 1e9:.1f} GB does not fit an ONNX file, which has 2 at most"
        )
    encoder, decoder = _Encoder(model), _Decoder(model, source.architecture.prompt == "box")
    crops, prompts = _example(2, side)
    with torch.no_grad():
        features = encoder(crops)
    names = _FEATURES[: len(features)]
    graphs = (
        _graph(encoder, {"crops": crops}, names),
        _graph(decoder, {"crops": crops} | dict(zip(names, features)) | prompts, ("logits", "iou")),
    )
    about = _about(source, side)
    files = [_content(graph, about) for graph in graphs]
    difference = _compare(files, encoder, decoder, side)
    if not difference <= _TOLERANCE:
        raise InsightError(
            f"{source.name}: ONNX Runtime's answers differ from PyTorch's by {difference:.2g}, more than {_TOLERANCE}; "
            "nothing was written"
        )
    written = ExportedModel(Path(folder) / ENCODER, Path(folder) / DECODER, difference)
    for path, content in zip((written.encoder, written.decoder), files):
        with atomic_write(path, "wb") as file:
            file.write(content)
    return written


def _require_packages() -> None:
    for name in _PACKAGES:
        try:
            import_module(name)
        except ImportError as error:
            raise MissingDependencyError(
                f"ONNX: {error.name} is not installed; run `pip install 'insight-seg[onnx]'`"
            ) from error


class _Encoder(nn.Module):
    """From crops of pixel values to features."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model: SOPSeg) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None])
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None])

    def normalised(self, crops: Tensor) -> Tensor:
        return (crops - self.pixel_mean) / self.pixel_std

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        features = self.model.encode(self.normalised(crops))
        return (features.embedding, features.shallow, *features.fine)


class _Decoder(_Encoder):
    """From crops, features and prompts to logits and predicted IoU.

    Args:
        model: the model.
        horizontal: whether it knows only the horizontal boxes around oriented ones.
    """

    def __init__(self, model: SOPSeg, horizontal: bool) -> None:
        super().__init__(model)
        self.horizontal = horizontal

    def forward(self, crops: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        embedding, shallow, *fine = others[: -len(PROMPTS)]
        corners, points, labels = others[-len(PROMPTS) :]
        features = ImageFeatures(embedding, shallow, tuple(fine))
        prompts = oriented_prompts(corners)._replace(points=points, labels=labels)
        if self.horizontal:
            prompts = prompts._replace(corners=None)
        found = self.model.decode(self.normalised(crops), features, prompts)
        return found.mask_logits[:, 0], found.iou


def _example(count: int, side: int, points: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
    """Random crops, and a box in each, with the three points along its axis or without points."""
    generator = torch.Generator().manual_seed(count)
    crops = 255 * torch.rand(count, 3, side, side, generator=generator)
    near, far = 0.4 * torch.rand(2, count, 2, generator=generator)
    boxes = torch.cat([near, 1 - far], 1)
    skewed = torch.tensor([[0.1, 0.0], [0.0, 0.1], [-0.1, 0.0], [0.0, -0.1]])
    corners = side * (box_corners(boxes) + skewed)
    shown = oriented_prompt_points(corners)[:, : 3 if points else 0]
    return crops, dict(zip(PROMPTS, (corners, shown, torch.ones(shown.shape[:2], dtype=torch.int64))))


def _graph(module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...]) -> "ModelProto":
    """Trace a module, with N and P open."""
    count, points = torch.export.Dim("N", min=1), torch.export.Dim("P", min=0)
    first, *others = ({0: count, 1: points} if name in ("points", "labels") else {0: count} for name in inputs)
    shapes = (first, tuple(others)) if others else (first,)  # forward takes the others as *args
    # Other kernels of attention return other strides while tracing than while lowering, which ends the export.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        program = torch.export.export(module.eval(), tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
        exported = torch.onnx.export(program, input_names=list(inputs), output_names=outputs, verbose=False)
    assert exported is not None
    return exported.model_proto


def _about(source: ModelFolder, side: int) -> dict[str, str]:
    """What users of the files have to know."""
    assert source.architecture is not None
    schedule = CropSchedule()
    return {
        "name": source.name,
        "license": source.license,
        "sha256": source.sha256,
        "insight_version": __version__,
        "crop_size": str(side),
        "prompt": source.architecture.prompt,
        "crop_schedule": json.dumps({key: getattr(schedule, key) for key in schedule.__dataclass_fields__}),
    }


def _content(graph: "ModelProto", about: dict[str, str]) -> bytes:
    import onnx

    onnx.helper.set_model_props(graph, about)
    onnx.checker.check_model(graph)
    file = io.BytesIO()
    onnx.save(graph, file)
    return file.getvalue()


def _compare(files: list[bytes], encoder: nn.Module, decoder: nn.Module, side: int) -> float:
    """Largest difference between ONNX Runtime and PyTorch, for several counts of prompts and points."""
    import onnxruntime

    sessions = [onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in files]
    differences = []
    for count, points in ((1, True), (3, False)):
        crops, prompts = _example(count, side, points)
        with torch.no_grad():
            expected = decoder(crops, *encoder(crops), *prompts.values())
        names = [output.name for output in sessions[0].get_outputs()]
        inputs = {name: part.numpy() for name, part in ({"crops": crops} | prompts).items()}
        features = dict(zip(names, sessions[0].run(None, {"crops": inputs["crops"]})))
        used = {argument.name for argument in sessions[1].get_inputs()}
        found = sessions[1].run(None, {name: part for name, part in (inputs | features).items() if name in used})
        differences += [torch.from_numpy(a).sub(b).abs().max() for a, b in zip(found, expected)]
    return float(torch.stack(differences).max())  # NaN if one is, which Python's max would drop
