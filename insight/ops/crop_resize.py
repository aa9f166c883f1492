"""N boxes cut out of a batch of images and resized to one size, in one pass over the pixels that they need."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from . import _ext, reference
from ._arguments import as_image_index, as_integer, check_device, describe, is_floating_point

IMAGE_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
COPIED_FOR_A_BOX = 2**20  # bytes of images worth copying to the CPU, where their own device has no kernel


def crop_resize(
    images: Tensor,
    boxes: Tensor,
    size: int | tuple[int, int],
    *,
    image_index: Tensor | None = None,
    mean: Sequence[float] | Tensor | None = None,
    std: Sequence[float] | Tensor | None = None,
    antialias: bool = True,
    pad_value: float = 0.0,
) -> Tensor:
    """Cut boxes out of images, normalise and resize them to one size, without a copy of any image.

    Pixel k of an axis covers [k, k + 1), its centre is at k + 0.5. Output j of an axis of a box from `low` to `high` is
    centred at low + (j + 0.5) * (high - low) / size, at real coordinates. Along each axis by itself:

    * If the box is larger than the output and `antialias` is set, pixels are weighed by a triangle as wide as two
      outputs; a pixel that lies only partly in the box counts by that part.
    * Otherwise the two nearest pixels are interpolated, at a point kept half a pixel inside the box (in the middle of a
      box narrower than a pixel), so that no pixel beyond the box is mixed in.

    Where the box has integer corners within the image this equals `torch.nn.functional.interpolate(crop,
    mode="bilinear", antialias=antialias, align_corners=False)`. Pixels outside the image count as `pad_value`, as if
    the normalised image were padded with it on all sides before the crop.

    Arithmetic is in float32 (float64 for float64 images) whatever the image type; autocast changes nothing. Gradients
    flow to floating-point images only; on CUDA they are summed by atomic additions, in no fixed order.

    Args:
        images: (B, C, H, W) uint8, float16, bfloat16, float32 or float64, with any strides; contiguous and
            channels_last are the fast ones.
        boxes: (N, 4) floating point, XYXY in pixels of the images, taken as float32. They may leave the image. A box
            that is empty, reversed or not finite (x2 <= x1, y2 <= y1, NaN, infinity) gives `pad_value` everywhere: its
            values are not checked, which would make the host wait for a GPU.
        size: side of the outputs, or (height, width), pixels.
        image_index: (N,) int64 or int32, the image of each box; None: image 0. Out of range it is an error,
            but gives NaN from the CUDA kernel, which does not wait.
        mean: C values, subtracted from the pixels; None: 0. In the units of `images` (0 to 255 for uint8).
        std: C values above 0, by which the differences are divided; None: 1. Those of a tensor are not looked at, which
            would make the host wait for a GPU.
        antialias: low-pass filter where the box shrinks.
        pad_value: what a pixel outside the image counts as, after normalisation; finite.

    Returns:
        (N, C, height, width), contiguous; float32 for uint8 images, else of their dtype.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Source:
        Insight Any Instance, local prompt module: crops of the original image, all resized to S_ps ("Up-unity").
    """
    height, width = _output_size(size)
    _check_images(images)
    if not is_floating_point(boxes):
        raise TypeError(f"boxes must be a floating-point tensor (N, 4), got {describe(boxes)}")
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must have shape (N, 4), got {tuple(boxes.shape)}")
    check_device("boxes", boxes, "images", images)
    if not -math.inf < pad_value < math.inf:
        raise ValueError(f"pad_value must be finite, got {pad_value}")
    boxes = boxes.detach().to(torch.float32)
    if image_index is None:
        image_index = torch.zeros(boxes.shape[0], dtype=torch.int64, device=boxes.device)
    else:
        image_index = as_image_index(image_index, "boxes", boxes)
    mean = _channel_values("mean", mean, images)
    divisors = _channel_values("std", std, images)
    if std is not None and not isinstance(std, Tensor) and not all(value > 0 for value in std):
        raise ValueError(f"std must hold values above 0, got {list(std)}")
    _ext.compiled_for(images.device)  # for its warning: without a compiled kernel the op runs its fallback
    op = torch.ops.insight.crop_resize.default
    return op(images, boxes, image_index, height, width, mean, divisors, antialias, float(pad_value))


def _output_size(size: int | tuple[int, int]) -> tuple[int, int]:
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size must be one integer or (height, width), got {size}")
    height, width = (as_integer(side, "size must hold integers", size) for side in pair)
    if height < 1 or width < 1:
        raise ValueError(f"size must be positive, got {size}")
    return height, width


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.dtype not in IMAGE_DTYPES:
        names = ", ".join(str(d).removeprefix("torch.") for d in IMAGE_DTYPES)
        raise TypeError(f"images must be a tensor (B, C, H, W) of one of {names}, got {describe(images)}")
    if images.dim() != 4:
        raise ValueError(f"images must have shape (B, C, H, W), got {tuple(images.shape)}")


def _channel_values(name: str, values: Sequence[float] | Tensor | None, images: Tensor) -> Tensor | None:
    if values is None:
        return None
    values = torch.as_tensor(values, dtype=torch.float32, device=images.device).detach()
    if values.dim() != 1 or values.shape[0] != images.shape[1]:
        raise ValueError(f"{name} must have one value a channel, shape ({images.shape[1]},), got {tuple(values.shape)}")
    return values


def _fallback(images, boxes, image_index, height, width, mean, std, antialias, pad_value):
    """What serves a device without a compiled kernel."""
    if _worth_copying(images, len(boxes)):
        device = images.device
        images, boxes, image_index = images.cpu(), boxes.cpu(), image_index.cpu()
        mean, std = (x if x is None else x.cpu() for x in (mean, std))
        op = torch.ops.insight.crop_resize.default
        return op(images, boxes, image_index, height, width, mean, std, antialias, pad_value).to(device)
    return reference.crop_resize(
        images,
        boxes,
        (height, width),
        image_index=image_index,
        mean=mean,
        std=std,
        antialias=antialias,
        pad_value=pad_value,
    )


def _worth_copying(images: Tensor, num_boxes: int) -> bool:
    """Whether the CPU's kernel, and copying the images to it, is the faster stand-in for a kernel of their device.

    The twin takes about a millisecond a box on a GPU, in which several MiB are copied.
    """
    return "cpu" in _ext.BACKENDS and images.device.type != "cpu" and images.nbytes <= num_boxes * COPIED_FOR_A_BOX


def _fake(images, boxes, image_index, height, width, mean, std, antialias, pad_value):
    dtype = torch.float32 if images.dtype == torch.uint8 else images.dtype
    return images.new_empty((boxes.shape[0], images.shape[1], height, width), dtype=dtype)


def _fake_backward(grad, boxes, image_index, batch, image_height, image_width, std, antialias):
    return grad.new_empty((batch, grad.shape[1], image_height, image_width))


def _setup_context(ctx, inputs, output):
    images, boxes, image_index, _, _, _, std, antialias, _ = inputs
    ctx.save_for_backward(boxes, image_index, std)
    ctx.image_shape = images.shape
    ctx.antialias = antialias


def _backward(ctx, grad):
    boxes, image_index, std = ctx.saved_tensors
    if grad.is_cuda:
        _alert_not_deterministic()
    batch, _, height, width = ctx.image_shape
    op = torch.ops.insight.crop_resize_backward.default
    grad_images = op(grad, boxes, image_index, batch, height, width, std, ctx.antialias)
    return grad_images, None, None, None, None, None, None, None, None


def _setup_context_of_backward(ctx, inputs, output):
    grad, boxes, image_index, _, _, _, std, antialias = inputs
    ctx.save_for_backward(boxes, image_index, std)
    ctx.size = grad.shape[2:]
    ctx.antialias = antialias


def _backward_of_backward(ctx, grad_images):
    # The op is linear in the images, so the gradient of its gradient is the op without its constants.
    boxes, image_index, std = ctx.saved_tensors
    op = torch.ops.insight.crop_resize.default
    grad = op(grad_images, boxes, image_index, *ctx.size, None, std, ctx.antialias, 0.0)
    return grad, None, None, None, None, None, None, None


def _alert_not_deterministic() -> None:
    if not torch.are_deterministic_algorithms_enabled():
        return
    message = "the gradient of insight.ops.crop_resize on CUDA has no deterministic implementation (atomic additions)"
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(f"{message}: use torch.use_deterministic_algorithms(True, warn_only=True), or the CPU")
    warnings.warn(message, stacklevel=2)


# As in csrc/ops.cpp, for the twin alone.
_SCHEMA = (
    "(Tensor images, Tensor boxes, Tensor image_index, SymInt height, SymInt width, Tensor? mean, Tensor? std, "
    "bool antialias, float pad_value) -> Tensor"
)
_SCHEMA_BACKWARD = (
    "(Tensor grad, Tensor boxes, Tensor image_index, SymInt batch, SymInt image_height, SymInt image_width, "
    "Tensor? std, bool antialias) -> Tensor"
)
if not _ext.has_ops():
    torch.library.define("insight::crop_resize", _SCHEMA)
    torch.library.define("insight::crop_resize_backward", _SCHEMA_BACKWARD)
# The fallbacks serve every device without a compiled kernel. They are kernels of the op, because torch.compile, which
# stops at numbers read on the host, does not look into an op.
torch.library.impl("insight::crop_resize", "default", _fallback)
torch.library.impl("insight::crop_resize_backward", "default", reference.crop_resize_backward)
torch.library.register_fake("insight::crop_resize", _fake)
torch.library.register_fake("insight::crop_resize_backward", _fake_backward)
torch.library.register_autograd("insight::crop_resize", _backward, setup_context=_setup_context)
torch.library.register_autograd(
    "insight::crop_resize_backward", _backward_of_backward, setup_context=_setup_context_of_backward
)
