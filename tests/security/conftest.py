import pytest

pytest.importorskip("detectron2")

from helpers.workplace import make_workplace


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """Sound inputs of all commands, to be copied."""
    return make_workplace(tmp_path_factory.mktemp("workplace"))
