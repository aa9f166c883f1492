"""Files under a folder: through links, but not round and round."""

import pytest

from insight.runtime.folders import files_under


def files(folder):
    return [path.relative_to(folder).as_posix() for path in files_under(folder, (".png",))]


@pytest.fixture
def folder(tmp_path):
    for name in ("images/a.png", "images/sub/B.PNG", "images/sub/.hidden.png", "images/c.txt", "other/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "images"


def test_linked_folders_and_files_are_followed(folder):
    (folder / "train").symlink_to("sub")
    (folder / "val").symlink_to("../other")
    (folder / "e.png").symlink_to("../other/d.png")
    assert files(folder) == ["a.png", "e.png", "sub/B.PNG", "train/B.PNG", "val/d.png"]
    (folder.parent / "linked").symlink_to("images")
    assert files(folder.parent / "linked") == files(folder)


@pytest.mark.parametrize(
    "links",
    [
        {"self": "."},
        {"self": ".", "again": "../images"},
        {"sub/up": "..", "sub/here": "../sub"},
        {"gone": "nowhere", "itself": "itself"},
    ],
)
def test_links_back_are_not_followed(folder, links):
    for name, target in links.items():
        (folder / name).symlink_to(target)
    assert files(folder) == ["a.png", "sub/B.PNG"]


def test_folders_linked_to_each_other_end(folder):
    (folder / "there").symlink_to("../other")
    (folder.parent / "other" / "back").symlink_to("../images")
    assert files(folder) == ["a.png", "sub/B.PNG", "there/d.png"]
    (folder / "up").symlink_to("..")
    assert files(folder) == ["a.png", "sub/B.PNG", "there/d.png", "up/other/d.png"]


def test_no_folder_has_no_files(tmp_path):
    assert files(tmp_path / "none") == []
