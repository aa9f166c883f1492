"""The form of prompts by decoder; that predictors use it stands in their tests."""

import pytest
import torch
from helpers.tiny_sopseg import small_sopseg

from insight.errors import InputError
from insight.modeling.sopseg import DECODERS
from insight.modeling.sopseg.decoders import build_decoder
from insight.modeling.sopseg.prompt_form import FORMS, check_form, in_form
from insight.structures.prompts import oriented_prompts

ORIENTED = oriented_prompts(torch.tensor([[[2.0, 3], [12, 8], [10, 12], [0, 7]]]))


@pytest.mark.parametrize("decoder", DECODERS)
def test_only_sams_decoder_is_prompted_with_horizontal_boxes(decoder):
    model = small_sopseg()
    model.mask_decoder = build_decoder(decoder, 48)
    found = in_form(ORIENTED, model)
    assert found.boxes.tolist() == [[0, 3, 12, 12]]
    assert (found.points is None) == (found.labels is None) == (decoder == "sam")


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_is_asked_for_is_used(form):
    assert (in_form(ORIENTED, small_sopseg(), form).points is None) == (form == "box")


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="^prompt: expected oriented_box or box, got 'rectangle'$"):
        check_form("rectangle")
