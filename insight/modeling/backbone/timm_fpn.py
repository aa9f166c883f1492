"""timm models with a feature pyramid as Detectron2 backbones."""

import math

import timm
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from timm.layers.format import Format
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import Tensor, nn

from insight.errors import InputError

from .weights import load_backbone_weights


class TimmBackbone(Backbone):
    """A timm model whose features have the names of Detectron2's ResNets: "res2" has stride 4, "res5" stride 32.

    Args:
        name: name of a timm model that supports features_only and accepts images of any size.
        out_features: names of the features to return, "res1" (stride 2) to "res6".
        in_channels: channels of the images.
        weights: "" for random weights, a file, "timm" for timm's hub, or "package:NAME" for an installed package.
        freeze_at: number of stages to freeze, counted from the stem.
        frozen_norm: keep the statistics and affine parameters of every BatchNorm fixed.

    Raises:
        InputError: the model is unknown, has no feature pyramid or accepts images of one size only; it lacks a feature;
            or freeze_at is out of range.
        CheckpointError: the weights cannot be read or are of another model.
    """

    def __init__(
        self,
        name: str,
        out_features: list[str],
        *,
        in_channels: int = 3,
        weights: str = "",
        freeze_at: int = 0,
        frozen_norm: bool = True,
    ):
        super().__init__()
        try:
            net = _create(name, features_only=True, in_chans=in_channels, pretrained=weights == "timm")
        except (RuntimeError, AttributeError) as error:
            raise InputError(f"MODEL.TIMM.NAME {name!r}: timm cannot build its features ({error})") from error
        strides = net.feature_info.reduction()
        names = [f"res{int(math.log2(stride))}" for stride in strides]
        missing = [f for f in out_features if f not in names]
        if missing:
            raise InputError(
                f"MODEL.FPN.IN_FEATURES asks for {missing}; {name} of timm has {names}: change it or MODEL.TIMM.NAME"
            )
        self.net = net
        self._channels_last = getattr(net, "output_fmt", Format.NCHW) == Format.NHWC  # such as Swin
        self._names = names
        self._out_features = list(out_features)
        self._out_feature_strides = dict(zip(names, strides))
        self._out_feature_channels = dict(zip(names, net.feature_info.channels()))
        self._check_image_sizes(name, in_channels)
        if weights not in ("", "timm"):  # after the check, so that an unsuitable model is refused for what it is
            load_backbone_weights(net, weights)
        _freeze(net, freeze_at, frozen_norm)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Compute the features of images.

        Args:
            x: (B, C, H, W) float, normalised.

        Returns:
            Feature maps (B, C_l, H / stride, W / stride) by name.
        """
        features = dict(zip(self._names, self.net(x)))
        if self._channels_last:
            return {name: features[name].permute(0, 3, 1, 2) for name in self._out_features}
        return {name: features[name] for name in self._out_features}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and stride of each feature of `forward`, by name."""
        return {
            name: ShapeSpec(channels=self._out_feature_channels[name], stride=self._out_feature_strides[name])
            for name in self._out_features
        }

    def _check_image_sizes(self, name: str, in_channels: int) -> None:
        """Try an unusual size, since timm does not tell which models work at one size only."""
        step = max([32, *(shape.stride for shape in self.output_shape().values())])
        height, width = 3 * step, 5 * step  # odd multiples, which few attention windows divide
        image = next(self.net.parameters()).new_zeros((1, in_channels, height, width))
        try:
            with torch.no_grad():
                features = self.eval()(image)
            for feature, shape in self.output_shape().items():
                found = tuple(features[feature].shape[1:])
                if found != (shape.channels, height / shape.stride, width / shape.stride):
                    raise ValueError(f"{feature}, of stride {shape.stride}, is {found[1]} x {found[2]} then")
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"MODEL.TIMM.NAME {name!r}: cannot take images of any size, as a detector needs, such as {height} x "
                f"{width} ({reason}); choose another model, docs/config.md names some"
            ) from error
        finally:
            self.train()


def _create(name: str, **options) -> nn.Module:
    """Create a timm model for images of any size."""
    try:
        return timm.create_model(name, strict_img_size=False, **options)
    except TypeError as error:
        if "strict_img_size" not in str(error):
            raise
        return timm.create_model(name, **options)


def _freeze(net: nn.Module, freeze_at: int, frozen_norm: bool) -> None:
    """Freeze the first stages of a timm feature network, and the BatchNorms of these or of all."""
    stages = net.feature_info.module_name()
    if not 0 <= freeze_at <= len(stages):
        raise InputError(f"MODEL.TIMM.FREEZE_AT: expected 0 to {len(stages)}, the number of stages, got {freeze_at}")
    # timm's feature networks write a stage's dots as underscores or keep them; modules are listed in forward order.
    names = [name for name, _ in net.named_modules()]
    frozen: list[str] = []
    if freeze_at:
        stage = stages[freeze_at - 1].replace(".", "_") + "_"
        last = max(i for i, name in enumerate(names) if (name.replace(".", "_") + "_").startswith(stage))
        frozen = names[: last + 1]
    for name in frozen:
        for parameter in net.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(False)
    for name in names if frozen_norm else frozen:
        module = net.get_submodule(name)
        if isinstance(module, nn.BatchNorm2d):
            net.set_submodule(name, freeze_batch_norm_2d(module))


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """Build a timm model with Detectron2's FPN, from MODEL.TIMM and MODEL.FPN.

    Args:
        cfg: a config with insight's keys.
        input_shape: channels of the images.

    Returns:
        The backbone, with a feature for each of MODEL.FPN.IN_FEATURES ("p2" for stride 4, ...) and one coarser.
    """
    bottom_up = TimmBackbone(
        cfg.MODEL.TIMM.NAME,
        cfg.MODEL.FPN.IN_FEATURES,
        in_channels=input_shape.channels,
        weights=cfg.MODEL.TIMM.WEIGHTS,
        freeze_at=cfg.MODEL.TIMM.FREEZE_AT,
        frozen_norm=cfg.MODEL.TIMM.FROZEN_NORM,
    )
    top_block = LastLevelMaxPool()
    top_block.in_feature = f"p{round(math.log2(bottom_up.output_shape()[cfg.MODEL.FPN.IN_FEATURES[-1]].stride))}"
    return FPN(
        bottom_up=bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=top_block,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
