"""Box prompts as they are typed. Needs no torch, so that a mistake is found at once."""

from collections.abc import Sequence

from insight.errors import InputError

FORMS = {4: "x1, y1, x2, y2", 5: "centre x, centre y, width, height, angle in degrees", 8: "x1, y1 ... x4, y4"}
HORIZONTAL, ORIENTED = (4,), (5, 8)  # counts of numbers


def box_numbers(text: str, argument: str, counts: Sequence[int]) -> list[float]:
    """Parse the numbers of a box.

    Args:
        text: the numbers, separated by commas.
        argument: name of the argument, for the error.
        counts: how many numbers there may be, keys of `FORMS`.

    Returns:
        The numbers.

    Raises:
        InputError: another form.
    """
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        forms = " or ".join(f"{count} numbers ({FORMS[count]})" for count in counts)
        raise InputError(f"{argument}: expected {forms}, separated by commas, in pixels, got {text!r:.80}")
    return numbers
