"""Decisions by hand: applied without making masks, and refused where they make no sense."""

import re
import shutil
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from insight.annotation.review import Review
from insight.annotation.run import annotate, apply_review
from insight.annotation.sources import open_source


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_boxes, filled_boxes, filters):
    """A dataset, and the folder of a run on it; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    annotate(open_source(write_boxes(folder / "dota")), filled_boxes(), filters, folder / "masks")
    return folder


@pytest.fixture
def dota(finished):
    """The dataset."""
    return finished / "dota"


@pytest.fixture
def done(finished, tmp_path):
    """The folder of a run."""
    return Path(shutil.copytree(finished / "masks", tmp_path / "masks"))


def edit(output, *changes):
    """Change the review file; its first mask is in line 2."""
    path = output / "review.csv"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


KEPT, DROPPED = "a.png,1,ship,0.6,,keep", "a.png,2,tank,0.2,score,drop"


def test_decisions_are_applied(done, dota, read_folder):
    path = edit(done, (KEPT, KEPT.replace("keep", "drop")), (DROPPED, DROPPED.replace("drop", "keep")))
    statistics = apply_review(open_source(dota), Review(path), done)
    coco = COCO(str(done / "instances.json"))
    assert coco.getAnnIds() == [2, 3, 5, 7] and coco.annToMask(coco.loadAnns(2)[0]).sum() == 100
    assert coco.dataset["info"]["filters"] == "by hand"
    assert statistics.by_hand == {"kept": 1, "dropped": 1}
    assert "against the filters: 1 kept, 1 dropped" in (done / "report.md").read_text()
    assert KEPT.replace("keep", "drop") in path.read_text() and DROPPED.replace("drop", "keep") in path.read_text()

    files = read_folder(done)  # applying it again changes nothing
    apply_review(open_source(dota), Review(path), done)
    assert read_folder(done) == files


def test_an_unchanged_file_changes_only_who_decided(done, dota):
    before = (done / "instances.json").read_text(), (done / "review.csv").read_text()
    apply_review(open_source(dota), Review(done / "review.csv"), done)
    after = (done / "instances.json").read_text(), (done / "review.csv").read_text()
    annotations = [text[text.index('"annotations"') :] for text in (before[0], after[0])]
    assert annotations[0] == annotations[1] and before[1] == after[1]


def test_a_file_that_went_through_a_spreadsheet(done, dota):
    path = done / "review.csv"
    head, *lines = path.read_text().splitlines()
    lines[0] = '"a.png","1","ship","0.6000","","keep"'
    path.write_bytes(("\ufeff" + "\r\n".join([head, *reversed(lines)]) + "\r\n").encode())
    apply_review(open_source(dota), Review(path), done)
    assert path.read_text().splitlines()[1] == KEPT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((KEPT, KEPT.replace("keep", "maybe")), "line 2: decision: expected keep or drop, got 'maybe'"),
        ((KEPT, KEPT.replace("keep", "")), "line 2: decision: expected keep or drop, got ''"),
        ((KEPT, KEPT.replace(",1,", ", ,")), "line 2: id: expected the id of a box, got ' '"),
        ((KEPT, KEPT.replace(",1,", ",x,")), r"lacks id 1 \(ship in a.png\)"),
        ((KEPT, KEPT.replace("0.6", "high")), "line 2: score: expected a number or nothing, got 'high'"),
        ((DROPPED, DROPPED.replace("score", "ugly")), "line 3: reason: expected some of no_area, .* got 'ugly'"),
        ((KEPT, "a.png,1,ship"), "line 2: expected 6 values"),
        ((KEPT, KEPT + ",more"), "line 2: expected 6 values"),
        ((KEPT, DROPPED), "line 3: id 2 is in line 2 already"),
        (("image,id", "picture,id"), "expected a review file with the columns image, id, class, score, reason, decis"),
        ((KEPT, KEPT.replace(",1,", ",100,")), r"lacks id 1 \(ship in a.png\)"),
        ((KEPT, KEPT + "\n" + KEPT.replace(",1,", ",100,")), "1 ids belong to no mask: 100"),
        ((KEPT, KEPT.replace("ship", "tank")), "line 2: describes another mask: id 1"),
        ((KEPT, KEPT.replace("0.6", "0.61")), "line 2: describes another mask: id 1"),
        (("outside,drop", "outside,keep"), "line 5: id 4 has no mask and cannot be kept"),
    ],
)
def test_a_mistake_is_one_line_and_the_old_files_stay(done, dota, read_folder, change, message):
    path = edit(done, change)
    before = read_folder(done)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}[:,] {message}") as caught:
        apply_review(open_source(dota), Review(path), done)
    assert "\n" not in str(caught.value)
    assert read_folder(done) == before


def test_files_that_are_none(done, tmp_path):
    with pytest.raises(FileNotFoundError):
        Review(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match="expected a review file with the columns"):
        Review(done / "histograms.png")
    with pytest.raises(ValueError, match="expected a review file"):
        Review(done / "report.md")


def test_there_must_be_masks(done, dota, tmp_path):
    with pytest.raises(ValueError, match="review: .*masks.journal holds no masks to review"):
        apply_review(open_source(dota), Review(done / "review.csv"), tmp_path / "other")


def test_decisions_by_hand_are_not_overwritten(done, dota, segmenter, filters):
    edit(done, (KEPT, KEPT.replace("keep", "drop")))
    with pytest.raises(ValueError, match="review.csv: has 1 manual decision, which"):
        annotate(open_source(dota), segmenter, filters, done)
