"""The model of the tests here."""

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
from helpers.model_folders import write_tiny_sopseg
from helpers.servers import make_settings, start


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a tiny model; in these tests, "vit_b" is small."""
    with pytest.MonkeyPatch.context() as patch:
        yield write_tiny_sopseg(tmp_path_factory.mktemp("models") / "tiny", patch)[0].path


@pytest.fixture
def client(tmp_path, model):
    """A client of a server of two images."""
    with start(make_settings(tmp_path, model)) as client:
        yield client


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory, model):
    """A client for tests that change nothing."""
    with start(make_settings(tmp_path_factory.mktemp("shared"), model)) as client:
        yield client
