"""Names of classes in plots: none vanishes from a legend, none becomes boxes."""

import logging

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from matplotlib import font_manager

from insight.visualization import figures
from insight.visualization.figures import plot_text, png_figure


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Without what other tests have found out about fonts."""
    monkeypatch.setattr(figures, "_fallbacks", {})
    for function in (figures._warn_once, figures._family_with):
        function.cache_clear()
    yield
    monkeypatch.undo()
    figures._family_with.cache_clear()


def legend_of(path, names):
    with png_figure(path, (4, 3)) as figure:
        axes = figure.subplots()
        for name in names:
            axes.plot([0, 1], label=plot_text(name))
        axes.set_xticks([0, 1], [plot_text(name) for name in (names * 2)[:2]])
        legend = axes.legend()
    return [text.get_text() for text in legend.get_texts()]


def test_a_leading_underscore_stays_in_the_legend(tmp_path):
    assert legend_of(tmp_path / "a.png", ["_ship", "tank"]) == ["\u200b_ship", "tank"]


def test_what_no_font_has_is_written_as_a_code_with_one_warning(tmp_path, monkeypatch, caplog, recwarn):
    monkeypatch.setattr(figures, "_family_with", lambda character: None)
    with caplog.at_level(logging.WARNING):
        shown = legend_of(tmp_path / "a.png", ["\u8239 ship", "порт", "\u8239"])
    assert shown == ["\\u8239 ship", "порт", "\\u8239"]
    assert len(caplog.records) == 1 and "no installed font" in caplog.text
    assert not [w for w in recwarn if "missing from font" in str(w.message)]


def test_another_font_is_used_where_it_has_the_character(tmp_path, monkeypatch, recwarn):
    """A font made here, whose only letter is a block: more ink than without."""
    fonttools = pytest.importorskip("fontTools.fontBuilder")
    pens = pytest.importorskip("fontTools.pens.ttGlyphPen")
    builder = fonttools.FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "block"])
    builder.setupCharacterMap({0x8239: "block"})
    pen = pens.TTGlyphPen(None)
    for start, point in ((True, (0, 0)), (False, (0, 900)), (False, (900, 900)), (False, (900, 0))):
        (pen.moveTo if start else pen.lineTo)(point)
    pen.closePath()
    builder.setupGlyf({".notdef": pens.TTGlyphPen(None).glyph(), "block": pen.glyph()})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "block"), (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Blocks", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "blocks.ttf")
    font_manager.fontManager.addfont(str(tmp_path / "blocks.ttf"))
    try:
        assert legend_of(tmp_path / "with.png", ["\u8239" * 9]) == ["\u8239" * 9]
    finally:
        font_manager.fontManager.ttflist[:] = [f for f in font_manager.fontManager.ttflist if f.name != "Blocks"]
    assert not [w for w in recwarn if "missing from font" in str(w.message)]
    legend_of(tmp_path / "without.png", [" " * 9])

    def ink(name):
        return int((np.asarray(Image.open(tmp_path / name).convert("L")) < 40).sum())

    assert ink("with.png") > ink("without.png") + 500
