"""Weight files of every kind are read, and none of them runs code."""

import argparse
import io
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch

from insight.checkpoint import CheckpointError, read_checkpoint, read_state_dict, require_finite

WEIGHTS = {"stem.weight": torch.arange(6.0).view(2, 3), "stem.count": torch.tensor(7)}


def is_equal(found, expected=WEIGHTS):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"model": w, "iteration": 3}, lambda w: {"state_dict": w}])
@pytest.mark.parametrize("name", ["a.pth", "a.pyth", "a.bin"])
def test_torch_files(tmp_path, wrap, name):
    torch.save(wrap(WEIGHTS), tmp_path / name)
    assert is_equal(read_state_dict(tmp_path / name))


def test_pycls_files(tmp_path):
    torch.save({"epoch": 1, "model_state": WEIGHTS}, tmp_path / "a.pyth")
    assert is_equal(read_state_dict(tmp_path / "a.pyth"))


def test_safetensors(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    assert is_equal(read_state_dict(tmp_path / "model.safetensors"))
    whole = (tmp_path / "model.safetensors").read_bytes()
    for content in (whole[:-1], whole[:20], b"", b"\xff" * 100, struct.pack("<Q", 2) + b"[]"):
        (tmp_path / "bad.safetensors").write_bytes(content)
        refused(tmp_path / "bad.safetensors", "damaged, or not a weight file")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_detectron2s_model_zoo(tmp_path, protocol):
    arrays = {
        "backbone.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        "big_endian": np.arange(4, dtype=">f4"),
        "half": np.array([1.5], np.float16),
        "index": np.array(3, np.int64),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 4), np.float32),
    }
    more = {"scalar": np.float32(2.5), "count": np.int64(3), "bytes": b"\x80", "shapes": [(1, 2), None, True]}
    content = {"model": arrays, "__author__": "Detectron2", "matching_heuristics": True, **more}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_checkpoint(tmp_path / "zoo.pkl")
    for name, array in arrays.items():
        tensor = found["model"][name]
        assert tensor.dtype == torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).dtype
        assert np.array_equal(tensor.numpy(), array) and tensor.shape == array.shape
    found["model"]["backbone.weight"].add_(1)  # the tensor owns its memory
    assert {name: value for name, value in found.items() if name != "model"} == {
        name: value for name, value in content.items() if name != "model"
    }


def test_python_2s_pickles(tmp_path):
    """Such as Detectron's: names and raw bytes are Python 2's str, modules have their old names."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08" + np.array([1.5, -2], "<f4").tobytes() + b"tb"
    )
    (tmp_path / "r50.pkl").write_bytes(b"\x80\x02}U\x05blobs}U\x07conv1_w" + array + b"ss.")
    found = read_checkpoint(tmp_path / "r50.pkl")
    assert found["blobs"]["conv1_w"].tolist() == [1.5, -2]


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def payloads(trace):
    command = f"touch {trace}"
    yield "os.system", Calls(os.system, command)
    yield "subprocess", Calls(subprocess.Popen, ["touch", str(trace)])
    yield "eval", Calls(eval, f"open({str(trace)!r}, 'w')")
    yield "exec", Calls(exec, f"open({str(trace)!r}, 'w')")
    yield "getattr", Calls(getattr, "a", "format")
    yield "open", Calls(open, str(trace), "w")
    yield "numpy file", Calls(np.memmap, str(trace), "u1", "w+", 0, (4,))
    yield "numpy load", Calls(np.load, str(trace), None, True)
    yield "torch load", Calls(torch.load, str(trace))
    yield "bytearray", Calls(bytearray, 1 << 40)
    yield "pickle", Calls(pickle.loads, pickle.dumps(Calls(os.system, command)))
    yield "namespace", argparse.Namespace(lr=1)
    yield "objects in an array", np.array([Calls(os.system, command)], dtype=object)
    yield "structure", np.zeros(2, [("pointer", "O")])
    yield "text in an array", np.array(["a"])


def raw_payloads(trace):
    """What Python does not write by itself."""
    command = f"touch {trace}".encode()
    yield "opcode INST", b"(S'" + command + b"'\nios\nsystem\n."
    yield "opcode OBJ", b"(cos\nsystem\nS'" + command + b"'\no."
    yield "dotted name", b"\x80\x04\x8c\x05numpy\x8c\x18f2py.subprocess.check_call\x93\x8c\x04true\x85R."
    yield "attribute of an allowed class", b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93]\x85R."
    yield "persistent id", b"Pos.system\n."
    yield "extension registry", b"\x80\x02\x82\x01."
    yield "module that is a submodule", b"cnumpy.core.multiarray\nfromfile\n(S'/etc/passwd'\ntR."
    # A dtype without references whose field is a pointer: NumPy would read it out of the file's bytes.
    fields = b"(S'p'\nt}S'p'\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRI0\nts"
    yield "forged dtype", b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR(I3\nS'|'\nN" + fields + b"I8\nI1\nI0\ntb."
    yield "forged dtype of a plain one", b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nN" + fields + b"I8\nI1\nI0\ntb."
    yield "a list that holds itself", b"\x80\x02]q\x00h\x00a."
    yield "a billion lists", b"\x80\x02]" + b"".join(b"q%c](h%ch%ce" % (i, i, i) for i in range(60)) + b"."
    yield "a million brackets", b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b"."


def refused(path, message="[a-z]"):
    for read in (read_checkpoint, read_state_dict):
        with pytest.raises(CheckpointError, match=message) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")
        assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 600


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", ["pkl", "pth", "safetensors"])
def test_no_file_runs_code(tmp_path, suffix):
    trace, path = tmp_path / "trace", tmp_path / f"evil.{suffix}"
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        for name, payload in payloads(trace):
            nested = {"model": {"weight": np.ones(2, np.float32)}, "__author__": "x", "more": [(payload,)]}
            for content in (payload, {"model": payload}, {"model": {"weight": payload}}, nested):
                path.write_bytes(pickle.dumps(content, protocol))
                refused(path)
                assert not trace.exists(), name
                if suffix not in ("pkl", "safetensors"):
                    torch.save(content, path, pickle_protocol=protocol)
                    refused(path)
                    assert not trace.exists(), name
    for name, content in raw_payloads(trace):
        path.write_bytes(content)
        refused(path)
        assert not trace.exists(), name


def test_the_payloads_would_run():
    """So that the test above can fail."""
    code = "import pickle, sys; pickle.load(sys.stdin.buffer)"
    file = io.BytesIO(pickle.dumps(Calls(sys.exit, 7)))
    assert subprocess.run([sys.executable, "-c", code], input=file.getvalue()).returncode == 7


def test_what_is_foreign_is_named(tmp_path):
    for name, save in (("a.pth", torch.save), ("a.pkl", lambda c, path: path.write_bytes(pickle.dumps(c)))):
        save({"model": {}, "args": argparse.Namespace(lr=1)}, tmp_path / name)
        refused(tmp_path / name, r"Python objects \(argparse.Namespace\), which may run code .* save the weights alone")


ODD = {
    "a value of type list": [1, 2],
    "a value of type int under 'model'": {"model": 5},
    "a dictionary with the key 1": {1: torch.ones(1)},
    "an empty dictionary": {},
    "a value of type int under 'epoch'": {"epoch": 3},
    "a value of type dict under 'a'": {"model": {"a": {"b": torch.ones(1)}}},
    "a value of type Tensor": torch.ones(1),
    "nothing": None,
}


@pytest.mark.parametrize("said", ODD)
@pytest.mark.parametrize("name", ["a.pth", "a.pkl"])
def test_odd_contents_are_one_line(tmp_path, said, name):
    content = ODD[said]
    if name == "a.pth":
        torch.save(content, tmp_path / name)
    elif not isinstance(content, torch.Tensor):
        (tmp_path / name).write_bytes(pickle.dumps(as_numpy(content), 2))
    else:
        pytest.skip("a tensor is not pickled alone")
    with pytest.raises(CheckpointError, match="expected a state dict") as error:
        read_state_dict(tmp_path / name)
    assert str(error.value).endswith(said.removesuffix(" under 'model'"))


def as_numpy(content):
    if isinstance(content, dict):
        return {key: as_numpy(value) for key, value in content.items()}
    return content.numpy() if isinstance(content, torch.Tensor) else content


@pytest.mark.parametrize("name", ["a.pth", "a.pkl", "a.safetensors"])
def test_files_that_are_none(tmp_path, name):
    path = tmp_path / name
    refused(path, "no such checkpoint$")
    path.mkdir()
    refused(path, "expected a weight file, got a folder$")
    path.rmdir()
    for content in (b"", b"this is a text file", b"\x89PNG\r\n\x1a\n", b"\x80\x02", bytes(1000), b"PK\x03\x04"):
        path.write_bytes(content)
        refused(path, r"damaged, or not a weight file \(\w+\)$")


@pytest.mark.parametrize("name, zipped", [("a.pth", True), ("a.pth", False), ("a.pkl", None)])
def test_truncated_files(tmp_path, name, zipped):
    path = tmp_path / name
    if zipped is None:
        path.write_bytes(pickle.dumps({"model": {"weight": np.zeros(1000)}}, 2))
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for part in np.linspace(0, len(whole) - 2, 12).astype(int):
        path.write_bytes(whole[:part])
        refused(path, "damaged, or not a weight file|Python objects")  # the cut may go through a name


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex64, torch.float8_e5m2])
def test_the_first_tensor_with_nan_or_infinity_is_named(value, dtype):
    bad = torch.tensor([1, value]).to(dtype)
    with pytest.raises(CheckpointError, match="^a.pth: b holds NaN or infinity; did its training diverge?"):
        require_finite({"a": torch.ones(3), "b": bad, "c": bad}, "a.pth")


def test_finite_weights_whose_sum_overflows_are_finite():
    half = torch.full((9,), 6e4, dtype=torch.float16)
    require_finite({"a": torch.full((9,), 3e38), "b": half, "count": torch.tensor(3)}, "a.pth")
    with pytest.raises(CheckpointError, match="a holds"):
        require_finite({"a": torch.tensor([torch.inf, -torch.inf])}, "a.pth")
