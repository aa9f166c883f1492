"""Proposals of tiles: the same wherever the tiles begin, and as many in an area as in an image."""

import pytest
import torch

pytest.importorskip("detectron2")

from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import ImageList
from torch import nn

from insight.modeling.proposal_generator.cells import propose_in_cells

STRIDES = {"p4": 16, "p6": 64}
AREA = 256.0**2  # pixels, of images with 12 proposals


class Given(nn.Module):
    """A head whose logits and deltas are the channels of the feature maps: they do not depend on borders."""

    def forward(self, maps):
        return [x[:, :1] for x in maps], [x[:, 1:] for x in maps]


@pytest.fixture(scope="module")
def generator():
    anchors = DefaultAnchorGenerator(sizes=[[24], [40]], aspect_ratios=[[1.0]], strides=list(STRIDES.values()))
    return RPN(
        in_features=list(STRIDES),
        head=Given(),
        anchor_generator=anchors,
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1]),
        box2box_transform=Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=8,
        positive_fraction=0.5,
        pre_nms_topk=(20, 20),
        post_nms_topk=(12, 12),
    ).eval()


@pytest.fixture(scope="module")
def scene():
    """Feature maps of a scene of 1,300 x 1,024 pixels, which is crowded on the left."""
    torch.manual_seed(0)
    maps = {name: 0.2 * torch.randn(1, 5, 1024 // stride, 1344 // stride) for name, stride in STRIDES.items()}
    for name, stride in STRIDES.items():
        maps[name][:, 0, :, : 256 // stride] += 3
    return maps


def propose(generator, scene, window):
    """XYXY in the scene and logits of the proposals of a window, those first that lie at the top and at the left."""
    x0, y0, x1, y1 = window
    features = {
        n: f[..., y0 // s : -(-y1 // s), x0 // s : -(-x1 // s)] for (n, f), s in zip(scene.items(), STRIDES.values())
    }
    images = ImageList(torch.zeros(1, 3, y1 - y0, x1 - x0), [(y1 - y0, x1 - x0)])
    (found,) = propose_in_cells(generator, images, features, (x0, y0), AREA)
    boxes = found.proposal_boxes.tensor + torch.tensor([x0, y0, x0, y0])
    rows = torch.cat([boxes, found.objectness_logits[:, None]], 1).double()
    return rows[(rows[:, 1] * 1e4 + rows[:, 0]).argsort()]


def in_core(rows, low, high):
    centres = (rows[:, :2] + rows[:, 2:4]) / 2
    return rows[((centres >= torch.tensor(low)) & (centres < torch.tensor(high))).all(1)]


@pytest.mark.parametrize(
    "window", [(0, 0, 512, 512), (256, 256, 1024, 768), (768, 512, 1300, 1024), (0, 0, 1300, 1024)]
)
def test_the_core_of_a_tile_has_the_proposals_that_the_scene_has_there(generator, scene, window):
    whole = propose(generator, scene, (0, 0, 1300, 1024))
    low = [place + 128 * (place > 0) for place in window[:2]]
    high = [place - 128 * (place < length) for place, length in zip(window[2:], (1300, 1024))]
    expected, found = (in_core(rows, low, high) for rows in (whole, propose(generator, scene, window)))
    assert len(found) > 5
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_each_cell_has_its_share_and_a_crowd_takes_none_of_anothers(generator, scene):
    found = propose(generator, scene, (0, 0, 1300, 1024))
    limit = 12 * 384**2 / AREA  # of a cell with what is around it
    for x in (128, 384, 640, 896):
        for y in (128, 384, 640):
            assert 12 / 4 <= len(in_core(found, (x, y), (x + 256, y + 256))) <= limit
    assert generator.post_nms_topk == {True: 12, False: 12}, "as before"
