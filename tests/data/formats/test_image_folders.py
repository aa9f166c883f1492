"""Which files of a folder are images."""

import pytest

from insight.data.formats.image_folders import find_images, label_paths


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "._a.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "tiles.png").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "absent.png")
    return tmp_path


def test_hidden_files_and_folders_are_no_images(folder):
    # A dangling link counts as an image, so that its failure is reported.
    assert [p.name for p in find_images([str(folder)])] == ["a.JPG", "b.png", "gone.png"]
    assert [p.name for p in find_images([f"{folder}/*.png"])] == ["b.png", "gone.png"]


def test_a_hidden_file_may_be_named(folder):
    assert find_images([str(folder / ".hidden.png")]) == [folder / ".hidden.png"]


def test_a_folder_of_nothing_else_has_no_images(tmp_path):
    (tmp_path / "._a.png").touch()
    (tmp_path / "x.png").mkdir()
    with pytest.raises(ValueError, match="the folder has no images"):
        find_images([str(tmp_path)])
    with pytest.raises(ValueError, match="no such image file or folder"):
        find_images([f"{tmp_path}/*.png"])


def test_images_that_would_share_a_label_file_are_refused():
    assert label_paths(["a/b.png", "b.png"], ".txt") == {"a/b.png": "a/b.txt", "b.png": "b.txt"}
    for names in (["b.png", "b.jpg"], ["b.png", "b.png"]):  # the second would replace the objects of the first
        with pytest.raises(ValueError, match="expected names that differ without suffix, got two of b.txt"):
            label_paths(names, ".txt")
