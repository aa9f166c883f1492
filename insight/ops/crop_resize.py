"""Crops of boxes from a batch of images, resized to one size in a single pass over the pixels needed."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from insight.errors import InputError

from . import _ext, reference
from ._arguments import as_image_index, as_integer, check_boxes, check_device, describe
from ._ext import register, warn_of_fallback

IMAGE_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
BYTES_PER_BOX = 2**20  # of images, which are worth copying to the CPU where their own device has no kernel


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
    """Crop boxes from images, normalise them and resize them to one size, without copying the images.

    Pixel k of an axis covers [k, k + 1); its centre is at k + 0.5. Along an axis of a box from `low` to `high`, output
    j is centred at low + (j + 0.5) * (high - low) / size, in real coordinates. The axes are resized independently:

    * If the box is larger than the output and `antialias` is set, pixels are weighted by a triangle filter as wide as
      two outputs; a pixel that is partly in the box counts by that part.
    * Otherwise the two nearest pixels are interpolated, at a point kept half a pixel inside the box (in the middle of a
      box narrower than a pixel), so that pixels outside the box are not mixed in.

    For a box with integer corners inside the image this equals `torch.nn.functional.interpolate(crop, mode="bilinear",
    antialias=antialias, align_corners=False)`. Pixels outside the image count as `pad_value`, as if the normalised
    image were padded with it before the crop.

    Computation is in float32 (float64 for float64 images) for every image dtype, with or without autocast. Gradients
    flow to floating-point images only; on CUDA they are accumulated by atomic additions, in no fixed order.

    Args:
        images: (B, C, H, W) uint8, float16, bfloat16, float32 or float64, with any strides; contiguous and
            channels_last images are fastest.
        boxes: (N, 4) floating point, XYXY in pixels of the images, converted to float32. They may extend beyond the
            image. The crop of a box that is empty, reversed or not finite (x2 <= x1, y2 <= y1, NaN, infinity) is filled
            with `pad_value`; this is not an error, since checking values would synchronise with the GPU.
        size: side of the outputs, or (height, width), pixels.
        image_index: (N,) int64 or int32, the image of each box; None: image 0 for all boxes. An index out of range is
            an error on the CPU and gives NaN on CUDA, where a check would synchronise with the host.
        mean: C values, subtracted from the pixels, in the units of `images` (0 to 255 for uint8); None: 0.
        std: C values above 0, by which the differences are divided; None: 1. The values of a tensor are not checked,
            since that would synchronise with the GPU.
        antialias: apply a low-pass filter where a box is reduced.
        pad_value: value of pixels outside the image, after normalisation; finite.

    Returns:
        (N, C, height, width), contiguous; float32 for uint8 images, else in their dtype.

    Raises:
        InputError: an argument has the wrong type, dtype, shape, device or value.

    Source:
        Insight Any Instance (arXiv 2409.07022), local prompt module: crops of the original image, all resized to S_ps
        ("Up-unity").
    """
    height, width = _output_size(size)
    _check_images(images)
    check_boxes("boxes", boxes, "(N, 4)")
    check_device("boxes", boxes, "images", images)
    if not -math.inf < pad_value < math.inf:
        raise InputError(f"pad_value: expected a finite number, got {pad_value}")
    boxes = boxes.detach().to(torch.float32)
    if image_index is None:
        image_index = torch.zeros(boxes.shape[0], dtype=torch.int64, device=boxes.device)
    else:
        image_index = as_image_index(image_index, "boxes", boxes)
    mean = _channel_values("mean", mean, images)
    divisors = _channel_values("std", std, images)
    if std is not None and not isinstance(std, Tensor) and not all(value > 0 for value in std):
        raise InputError(f"std: expected values above 0, got {list(std)}")
    warn_of_fallback(images.device)
    op = torch.ops.insight.crop_resize.default
    return op(images, boxes, image_index, height, width, mean, divisors, antialias, float(pad_value))


def _output_size(size: int | tuple[int, int]) -> tuple[int, int]:
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2:
        raise InputError(f"size: expected one integer or (height, width), got {size}")
    height, width = (as_integer(side, "size: expected integers", size) for side in pair)
    if height < 1 or width < 1:
        raise InputError(f"size: expected positive integers, got {size}")
    return height, width


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.dtype not in IMAGE_DTYPES:
        names = ", ".join(str(d).removeprefix("torch.") for d in IMAGE_DTYPES)
        raise InputError(f"images: expected a tensor (B, C, H, W) of one of {names}, got {describe(images)}")
    if images.dim() != 4:
        raise InputError(f"images: expected shape (B, C, H, W), got {tuple(images.shape)}")


def _channel_values(name: str, values: Sequence[float] | Tensor | None, images: Tensor) -> Tensor | None:
    if values is None:
        return None
    values = torch.as_tensor(values, dtype=torch.float32, device=images.device).detach()
    if values.dim() != 1 or values.shape[0] != images.shape[1]:
        raise InputError(
            f"{name}: expected one value per channel, shape ({images.shape[1]},), got {tuple(values.shape)}"
        )
    return values


def _fallback(images, boxes, image_index, height, width, mean, std, antialias, pad_value):
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
    """Whether copying the images to the CPU and running its kernel is faster than the PyTorch reference.

    The reference takes about a millisecond per box on a GPU, enough to copy several MiB.
    """
    return "cpu" in _ext.BACKENDS and images.device.type != "cpu" and images.nbytes <= num_boxes * BYTES_PER_BOX


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
    # The operator is linear in the images, so the gradient of its gradient is the operator without its constants.
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


register(
    "crop_resize",
    "(Tensor images, Tensor boxes, Tensor image_index, SymInt height, SymInt width, Tensor? mean, Tensor? std, "
    "bool antialias, float pad_value) -> Tensor",
    fallback=_fallback,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
)
register(
    "crop_resize_backward",
    "(Tensor grad, Tensor boxes, Tensor image_index, SymInt batch, SymInt image_height, SymInt image_width, "
    "Tensor? std, bool antialias) -> Tensor",
    fallback=reference.crop_resize_backward,
    fake=_fake_backward,
    backward=_backward_of_backward,
    setup_context=_setup_context_of_backward,
)
