"""What stands in for a GPU in these tests sees mistakes, and the kernels make none in memory or arithmetic."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import cuda_on_host

pytestmark = pytest.mark.skipif(cuda_on_host.COMPILER is None, reason="no g++")
ROOT = Path(__file__).resolve().parents[2]
NUMBERS = torch.arange(256, dtype=torch.int32)


def run(library, name):
    """What a kernel of wrong_kernels.cu wrote, and what it was ended for."""
    function = ctypes.CDLL(str(library)).run
    out, error = torch.full_like(NUMBERS, -5), ctypes.create_string_buffer(200)
    pointers = (ctypes.c_void_p(NUMBERS.data_ptr()), ctypes.c_void_p(out.data_ptr()))
    function(name.encode(), *pointers, error, ctypes.c_int(len(error)))
    return out, error.value.decode()


@pytest.fixture(scope="module")
def wrong_kernels(tmp_path_factory):
    return cuda_on_host.build(tmp_path_factory.mktemp("wrong"), [cuda_on_host.HERE / "wrong_kernels.cu"])


def test_a_missing_barrier_shows(wrong_kernels):
    expected = NUMBERS[:64].flip(0)
    for _ in range(10):
        out, error = run(wrong_kernels, "barrier")
        assert not error and torch.equal(out[:64], expected)
        out, error = run(wrong_kernels, "no barrier")
        assert not error and not torch.equal(out[:64], expected)


def test_a_missing_wait_for_a_copy_shows(wrong_kernels):
    out, error = run(wrong_kernels, "copy")
    assert not error and torch.equal(out, NUMBERS)
    assert run(wrong_kernels, "no wait")[1] == "a thread returned with copies on their way"
    assert run(wrong_kernels, "no commit")[1] == "a wait for copies of which some are not committed"


def test_shared_memory_is_garbage_to_every_block(wrong_kernels):
    out, error = run(wrong_kernels, "unwritten")
    assert not error and out[:64].eq(-1).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("leave", "threads of a block wait for others that never come"),
        ("meet", "lanes of a warp meet in different instructions: __s"),
        ("misaligned", "an address is not a multiple of its 8 or 16 bytes"),
        ("no grid", "no GPU launches a grid of these sizes"),
    ],
)
def test_what_hangs_or_fails_on_a_gpu_is_an_error(wrong_kernels, name, message):
    assert run(wrong_kernels, name)[1].startswith(message)
    assert not run(wrong_kernels, "barrier")[1]  # and the next launch is none the worse


SANITIZED = "-O1 -g1 -fsanitize=address,alignment,signed-integer-overflow,shift,bounds"


def run_sanitized(*command):
    """Run Python with AddressSanitizer, and the CUDA sources built for it and UndefinedBehaviorSanitizer."""
    # Its interceptor of exceptions wants the C++ library to be there already.
    names = ("libasan.so", "libstdc++.so.6")
    paths = [subprocess.check_output([cuda_on_host.COMPILER, f"-print-file-name={n}"], text=True) for n in names]
    if any(not Path(path.strip()).is_absolute() for path in paths):
        pytest.skip("this g++ has no AddressSanitizer")
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(path.strip() for path in paths),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python leaves much to the end of the process
        "UBSAN_OPTIONS": "halt_on_error=1",
        "CUDA_ON_HOST_FLAGS": SANITIZED,
    }
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)


# As `run`, without torch, whose import takes long under a sanitizer.
SEE_A_WRONG_READ = """
import ctypes, sys
numbers, out, error = (ctypes.c_int32 * 256)(), (ctypes.c_int32 * 256)(), ctypes.create_string_buffer(200)
ctypes.CDLL(sys.argv[1]).run(b"after the end", numbers, out, error, ctypes.c_int(len(error)))
"""


@pytest.mark.slow
def test_the_kernels_keep_within_their_memory(tmp_path, monkeypatch):
    """The place of compute-sanitizer: reads and writes outside tensors and shared memory, misaligned or overflowing."""
    monkeypatch.setenv("CUDA_ON_HOST_FLAGS", SANITIZED)
    wrong = cuda_on_host.build(tmp_path, [cuda_on_host.HERE / "wrong_kernels.cu"])
    seen = run_sanitized("-c", SEE_A_WRONG_READ, str(wrong))
    assert "heap-buffer-overflow" in seen.stderr and "read_after_the_end" in seen.stderr, seen.stderr[-3000:]
    chosen = "host and (equals_sdpa or equals_algorithm_1 or gradient_equals or any_number or out_of_range or matches)"
    done = run_sanitized("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/ops", "-k", chosen)
    assert done.returncode == 0 and "runtime error" not in done.stderr, (done.stdout + done.stderr)[-5000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 70
