"""Files that would leave a mark if anything in them ran."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import torch


class _Marks:
    """Pickled, it creates a file when it is unpickled by anything but a restricted reader."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


def yaml_payload(mark: Path, tag: str = "object/apply:os.system", key: str = "OUTPUT_DIR") -> bytes:
    """A config one of whose values is made by a call."""
    return f"{key}: !!python/{tag} [\"touch '{mark}'\"]\n".encode()


def yaml_new(mark: Path) -> bytes:
    """The same through `object/new`, which older unsafe loaders run too."""
    return f"a: !!python/object/new:os.system [\"touch '{mark}'\"]\n".encode()


def pickle_payload(mark: Path) -> bytes:
    """A pickle, such as a .pkl of Detectron2's model zoo or a .pth of an old torch."""
    return pickle.dumps({"model": _Marks(mark)}, protocol=2)


def torch_payload(mark: Path) -> bytes:
    """A file of torch.save, its pickle beside good tensors."""
    file = io.BytesIO()
    torch.save({"model": {"a": torch.zeros(2)}, "trainer": _Marks(mark)}, file)
    return file.getvalue()


def zip_payload(mark: Path) -> bytes:
    """An archive whose entries point outside the folder that it is unpacked to."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(os.path.relpath(mark, mark.anchor), "x")
        archive.writestr(f"../../../../../../{mark}", "x")
    return file.getvalue()


PAYLOADS = {
    "yaml apply": yaml_payload,
    "yaml new": yaml_new,
    "pickle": pickle_payload,
    "torch.save": torch_payload,
    "zip": zip_payload,
}
