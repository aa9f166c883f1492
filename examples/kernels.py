"""The three operators beside their PyTorch references: largest difference and time."""

import time

import torch

from insight import ops
from insight.ops import reference

torch.manual_seed(0)

# Crops around 64 boxes of a large aerial image. A box may extend beyond the image; the pixels there are padding.
image = torch.randint(0, 256, (1, 3, 1024, 1024), dtype=torch.uint8)
corner, extent = torch.rand(64, 2) * 1000, 20 + torch.rand(64, 2) * 100
boxes = torch.cat([corner, corner + extent], dim=1)

# 100 regions of 49 tokens each look at the 625 tokens of their whole image, with 8 heads of 32 channels.
local, whole = torch.randn(100, 49, 256), torch.randn(2, 625, 256)
image_index = torch.randint(0, 2, (100,))

# 2,000 proposals and 100 ground-truth boxes; each proposal is compared with the box that it overlaps most.
truth = boxes.repeat(2, 1)[:100]
proposals = truth[torch.randint(0, 100, (2000,))] * (0.9 + 0.2 * torch.rand(2000, 1))

cases = {
    "crop_resize": lambda library: library.crop_resize(image, boxes, 64),
    "global_to_local_attention": lambda library: library.global_to_local_attention(local, whole, image_index, 8),
    "area_loss": lambda library: library.area_loss(proposals, truth),
}


def timed(function, library, repeats: int = 5):
    """The result, and the least time of a few calls in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(library)
        times.append(time.perf_counter() - start)
    return result, 1000 * min(times)


print("compiled library:", "loaded" if ops.has_ops() else "missing; insight.ops computes with PyTorch too")
print(f"{'operator':28s}{'largest difference':>20s}{'kernel, ms':>12s}{'PyTorch, ms':>12s}")
for name, function in cases.items():
    ours, our_time = timed(function, ops)
    expected, reference_time = timed(function, reference)
    difference = (ours - expected).abs().max().item()
    print(f"{name:28s}{difference:20.1e}{our_time:12.2f}{reference_time:12.2f}")
