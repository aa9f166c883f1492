import torch
from detectron2.layers import paste_masks_in_image

from insight.modeling.mask_pasting import paste_masks


def test_pasted_codes_are_detectron2s_bitmaps():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(200, 2, generator=generator) * torch.tensor([90.0, 50.0]) - 10
    sizes = torch.rand(200, 2, generator=generator) * 60 + 0.5
    boxes = torch.cat([corners, corners + sizes], dim=1)
    boxes = boxes[(boxes[:, 2] > 0) & (boxes[:, 3] > 0) & (boxes[:, 0] < 80) & (boxes[:, 1] < 40)]  # touch the image
    masks = torch.rand(len(boxes), 28, 28, generator=generator)
    expected = paste_masks_in_image(masks, boxes, (40, 80))
    got = paste_masks(masks, boxes, (40, 80)).to_bitmaps()
    # Coordinates are taken from another origin: the last bit may tip a pixel at the threshold.
    assert (got != expected).float().mean() < 1e-5
    assert expected.any(dim=(1, 2)).sum() > 100


def test_no_masks():
    assert len(paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (40, 80))) == 0
