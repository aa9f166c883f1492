"""The form in which a model is prompted with oriented boxes: the one that it was trained for."""

import functools
import logging

from insight.errors import InputError
from insight.structures.prompts import Prompts

from .decoders import SAMDecoder
from .model import SOPSeg

FORMS = ("oriented_box", "box")

_logger = logging.getLogger(__name__)


def check_form(form: str | None, name: str = "prompt") -> None:
    """Check a form.

    Args:
        form: one of FORMS, or None.
        name: the argument's name, for the error.

    Raises:
        InputError: another value.
    """
    if form not in (None, *FORMS):
        raise InputError(f"{name}: expected {' or '.join(FORMS)}, got {form!r:.80}")


def in_form(prompts: Prompts, model: SOPSeg, form: str | None = None) -> Prompts:
    """Bring oriented prompts to the form that a model was trained for.

    Plain SAM knows horizontal boxes: with the points along an oriented box's axis it takes a part of the object for the
    whole. Logged once if the form is chosen here and changes the prompts. A model with a token for angles
    (`PromptEncoder.add_angle_token`) was trained with oriented boxes.

    Args:
        prompts: the output of `oriented_prompts`.
        model: the model.
        form: "oriented_box" for boxes and points, "box" for the horizontal boxes around; None for "box" if the decoder
            is SAM's, else "oriented_box".

    Returns:
        The prompts, or their boxes.
    """
    has_angles = model.prompt_encoder.angle_embed is not None
    if form is None and type(model.mask_decoder) is SAMDecoder and not has_angles:
        _say_once()
        form = "box"
    return Prompts(prompts.boxes) if form == "box" else prompts


@functools.cache
def _say_once() -> None:
    _logger.warning(
        "the checkpoint has SAM's decoder, which was trained with horizontal boxes: oriented boxes prompt it as the "
        "horizontal boxes around them; prompt 'oriented_box' adds the points along their axes"
    )
