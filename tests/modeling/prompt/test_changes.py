"""Changed prompts: worked out by hand, and against models that have other weights or images instead."""

import copy
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_prompt_rcnn import build, make_inputs, make_tiny_config, wake_prompts
from torch import nn

from insight.modeling.prompt import PROMPT_FEATURE, PromptPooler
from insight.modeling.prompt.changes import (
    CONTEXT,
    MEAN,
    NEIGHBOUR,
    OTHER_CLASS,
    SILENT,
    ChangedPrompts,
    PromptChange,
    possible_changes,
)

LPM = {"MODEL__PROMPT__LPM__ENABLED": True}
BOTH = LPM | {"MODEL__PROMPT__GPM__ENABLED": True}


class Heads(nn.Module):
    """Two branches whose RoI features are the prompts, of one channel and one cell."""

    def __init__(self):
        super().__init__()
        for branch in ("box", "mask"):
            pooler = PromptPooler(lambda features, boxes: torch.zeros(len(boxes[0].tensor), 1, 1, 1), [1], 1)
            nn.init.ones_(pooler.fusion[0].weight)
            setattr(self, f"{branch}_pooler", pooler)

    def ask(self, values, branch="box", of=list):
        """The features of boxes whose prompts of LPM are these values, asked for with a list or a dictionary."""
        context = SimpleNamespace(
            encoder=SimpleNamespace(local=object(), global_to_local=None),
            encode=lambda boxes: [torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)],
        )
        features = [context] if of is list else {PROMPT_FEATURE: context}
        boxes = [SimpleNamespace(tensor=torch.zeros(len(values), 4))]
        return getattr(self, f"{branch}_pooler")(features, boxes).flatten().tolist()


@pytest.mark.parametrize("of", [list, dict])
@pytest.mark.parametrize(
    "kind, expected",
    [
        (SILENT, [[0, 0], [], [0, 0, 0]]),
        (MEAN, [[2, 2], [], [4, 4, 4]]),  # of 1 and 3, then of 1, 3, 5, 5, 6
        (NEIGHBOUR, [[3, 1], [], [3, 5, 5]]),
    ],
)
def test_changes_by_hand(kind, expected, of):
    heads = Heads()
    change = ChangedPrompts(heads, PromptChange(kind, "LPM"))
    for values, changed in zip([[1, 3], [], [5, 5, 6]], expected):
        with change:
            assert heads.ask(values, of=of) == changed
            assert heads.ask([7], "mask", of=of) == [0 if kind == SILENT else 7], "it has a memory of its own"
        assert heads.ask(values, of=of) == values, "outside all is as it was"


def test_the_prompt_of_another_class_by_hand():
    heads = Heads()
    change = ChangedPrompts(heads, PromptChange(OTHER_CLASS, "LPM"))
    places = torch.tensor([[0.0, 0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6], [0.8, 0.8, 0.9, 0.9]])

    def ask(values, rows):
        context = SimpleNamespace(
            encoder=SimpleNamespace(local=object(), global_to_local=None),
            encode=lambda boxes: [torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)],
            relative=lambda boxes: places[rows],
        )
        with change:
            return heads.box_pooler([context], [SimpleNamespace(tensor=places[rows])]).flatten().tolist()

    change.see(places[:2], torch.tensor([4, 7]))
    # Classes 4, 4, 7, none, 4: the first two know no other, 7 gets the last of 4, the one without an object that of 7.
    assert ask([1.0, 2.0, 3.0, 9.0, 5.0], [0, 0, 1, 2, 0]) == [1, 2, 2, 3, 3]
    change.see(places[:0], torch.zeros(0, dtype=torch.int64))
    assert ask([6.0], [0]) == [5], "no object: that of the last object of the image before"
    change.see(places[:1], torch.tensor([7]))
    assert ask([8.0], [0]) == [5]


def test_what_is_not_to_change_does_not():
    heads = Heads()
    with ChangedPrompts(heads, PromptChange(SILENT, branch="mask")):
        assert heads.ask([1, 2]) == [1, 2] and heads.ask([1, 2], "mask") == [0, 0]
    with ChangedPrompts(heads, PromptChange(SILENT, "GPM")):
        assert heads.ask([1, 2]) == [1, 2], "these heads have no GPM"


@pytest.fixture(scope="module")
def model():
    return wake_prompts(build(make_tiny_config(**BOTH))).eval()


def found(model, inputs):
    """Boxes, scores and mask probabilities of all images."""
    with torch.no_grad():
        encoded = model.encode(inputs)
        proposals, _ = model.proposal_generator(encoded.images, encoded.features, None)
        instances, _ = model.roi_heads(encoded.images, encoded.features, proposals, None)
    return [value for x in instances for value in (x.pred_boxes.tensor, x.scores, x.pred_masks)]


def same(a, b):
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b))


@pytest.mark.parametrize(
    "change", [PromptChange(SILENT, "LPM"), PromptChange(SILENT, "GPM"), PromptChange(SILENT, branch="box")], ids=str
)
def test_silent_is_a_projection_of_zeros(model, change):
    inputs = make_inputs(prompt_scale=2)
    with ChangedPrompts(model, change):
        silent = found(model, inputs)
    assert not same(silent, found(model, inputs))
    without = copy.deepcopy(model)
    for branch in ("box", "mask"):
        for projection, module in zip(getattr(without.roi_heads, f"{branch}_pooler").fusion, ("LPM", "GPM")):
            if change.module == module or change.branch == branch:
                nn.init.zeros_(projection.weight)
    assert same(silent, found(without, inputs))


def test_the_context_of_the_image_before(model, monkeypatch):
    first, second = ([x] for x in make_inputs(prompt_scale=2))
    with ChangedPrompts(model, PromptChange(CONTEXT, "GPM")):
        assert same(found(model, first), found(model, first)), "it has none before it, then itself"
        changed = found(model, second)
    assert not same(changed, found(model, second))
    with torch.no_grad():
        tokens = model.encode(first).features[PROMPT_FEATURE].global_tokens
    monkeypatch.setattr(model.prompt_encoder.global_to_local, "encode_images", lambda *arguments: tokens)
    assert same(changed, found(model, second))


def test_which_changes_a_model_has():
    def names(**options):
        return [str(change) for change in possible_changes(build(make_tiny_config(**options)))]

    branches = ["box branch silent", "mask branch silent"]
    of_lpm = ["LPM silent", "LPM mean", "LPM of the box before", "LPM of a box of another class"]
    of_gpm = [text.replace("LPM", "GPM") for text in of_lpm] + ["GPM context of the image before"]
    assert names() == []
    assert names(**LPM) == of_lpm + branches
    assert names(**BOTH) == of_lpm + of_gpm + branches
    assert names(**LPM, MODEL__PROMPT__BRANCHES=["mask"]) == of_lpm
