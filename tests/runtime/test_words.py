import pytest

from insight.runtime.words import counted


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [(0, "mask", "0 masks"), (1, "box", "1 box"), (2, "box", "2 boxes"), (3, "class", "3 classes")],
)
def test_nouns_agree_with_their_number(count, noun, said):
    assert counted(count, noun) == said
