"""Finding models: shipped ones, folders, the cache, and the Hugging Face hub's own cache without a network."""

import json
import os
import shutil
import sys

import pytest
from helpers.model_folders import write_tiny_sopseg

import insight.hub.finding as finding
from insight.errors import MissingDependencyError
from insight.hub import ModelError, detector_works, find, known_models


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders of shipped and cached models, in a current folder of its own."""
    monkeypatch.setattr(finding, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("INSIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def put(places, where, monkeypatch, license="mit"):
    return write_tiny_sopseg(places / where, monkeypatch, license=license)[0]


def test_a_plain_name_is_shipped_then_a_folder_then_the_cache(places, monkeypatch):
    put(places, "cache/models/tiny", monkeypatch, "of-cache")
    assert find("tiny").license == "of-cache"
    put(places, "here/tiny", monkeypatch, "of-folder")
    assert find("tiny").license == "of-folder"
    put(places, "shipped/tiny", monkeypatch, "of-package")
    assert find("tiny").license == "of-package"
    assert find("./tiny").license == find(places / "here" / "tiny").license == "of-folder"
    assert find(find("tiny")) is not None and find(find("tiny")).license == "of-package"
    assert [(m.name, m.where) for m in known_models()] == [("tiny", "shipped")]


def test_the_default_detector_needs_its_folder_and_its_packages(places, monkeypatch):
    pytest.importorskip("timm")
    pytest.importorskip("detectron2")
    assert not detector_works()
    put(places, "shipped/scenes-light", monkeypatch)
    assert detector_works()
    for package in ("timm", "detectron2"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            assert not detector_works()


def test_the_cache_is_where_the_desktop_standard_has_it(places, monkeypatch):
    monkeypatch.delenv("INSIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(places / "xdg"))
    put(places, "xdg/insight/models/tiny", monkeypatch)
    assert [(m.name, m.where) for m in known_models()] == [("tiny", "cache")]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(places))
    assert finding.cache_folder() == places / ".cache" / "insight" / "models"


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest(places, monkeypatch):
    with pytest.raises(ModelError, match="tiny: unknown model; there are no models here"):
        find("tiny")
    put(places, "shipped/tiny-a", monkeypatch)
    put(places, "cache/models/other", monkeypatch)
    with pytest.raises(ModelError, match=r"tiny_a: unknown model; did you mean tiny-a\? There are tiny-a, other;"):
        find("tiny_a")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nothing", "no such model folder"),
        ("a/b/c", "no such model folder"),
        ("", "expected the name of a model, got nothing"),
        ("sam_vit_b.pth", "is a weight file; expected the name or the folder of a model"),
    ],
)
def test_paths_and_weight_files(places, name, said):
    with pytest.raises(ModelError, match=said):
        find(name)


@pytest.fixture
def remote(places, monkeypatch):
    """huggingface_hub without a network, with owner/tiny in its cache, laid out as it does."""
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(places / "hf"))
    model = put(places, "hf/made", monkeypatch)
    repository, commit = places / "hf" / "models--owner--tiny", "0123456789" * 4
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.move(model.path, repository / "snapshots" / commit)
    return repository / "snapshots" / commit


def test_owner_and_name_are_found_in_the_hubs_cache_offline(remote):
    import huggingface_hub

    tried = huggingface_hub.snapshot_download("owner/tiny", cache_dir=remote.parents[2], local_files_only=True)
    assert os.path.samefile(tried, remote)  # the layout is the hub's
    found = find("owner/tiny")
    assert os.path.samefile(found.path, remote) and found.weights.is_file()


def test_only_the_three_files_are_asked_for(places, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    made = put(places, "served", monkeypatch)
    asked = {}
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **options: asked.update(options, name=name) or made.path)
    assert find("owner/tiny").path == made.path
    assert asked == {"name": "owner/tiny", "allow_patterns": ["config.json", "model.safetensors", "README.md"]}


def test_what_the_hub_does_not_have_is_one_line(remote):
    with pytest.raises(ModelError, match="owner/other: no such folder, and it cannot be downloaded .*OFFLINE is set"):
        find("owner/other")


def test_a_model_of_another_library_on_the_hub(remote):
    (remote / "config.json").write_text(json.dumps({"model_type": "sam"}))
    with pytest.raises(ModelError, match="not a model of insight: it is of transformers"):
        find("owner/tiny")


def test_without_huggingface_hub(places, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match="needs huggingface_hub, which is not installed; run `pip install"):
        find("owner/tiny")


def test_a_local_folder_of_two_levels_is_not_looked_up_elsewhere(places, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    put(places, "here/owner/tiny", monkeypatch, "local")
    assert find("owner/tiny").license == "local"
