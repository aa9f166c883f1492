"""The PNG files that matplotlib draws."""

import cv2
import pytest
from matplotlib.mathtext import MathTextParser

from insight.visualization.figures import png_figure


@pytest.mark.parametrize("text", ["$x^2$", "a$b", r"a\$b", "$$$", r"$\frac{$", "plain_1"])
def test_texts_stand_as_they_are(tmp_path, monkeypatch, text):
    parsed = []
    monkeypatch.setattr(MathTextParser, "parse", lambda *args: parsed.append(args))
    with png_figure(tmp_path / "figure.png", (4, 3)) as figure:
        axes = figure.subplots()
        axes.bar([text], [1], label=text)
        axes.set(title=text, xlabel=text)
        figure.legend()
    assert not parsed and axes.get_xticklabels()[0].get_text() == text
    picture = cv2.imread(str(tmp_path / "figure.png"))
    assert picture.shape == (330, 440, 3) and picture.std() > 5


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "figure.png"
    path.write_text("old")
    with pytest.raises(ValueError, match="no such metric"), png_figure(path, (4, 3)):
        raise ValueError("no such metric")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
