"""What the machine tells of itself."""

import pytest
import torch

from insight.runtime.machine import free_memory, parse_device

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture
def system(tmp_path):
    """Writes the files of a system with 8 GiB available."""

    def write(files):
        meminfo = {"proc/meminfo": "MemTotal: 16777216 kB\nMemFree: 1024 kB\nMemAvailable: 8388608 kB\n"}
        for name, text in ({"proc/self/cgroup": "0::/\n"} | meminfo | files).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def group(folder, limit, usage, cache=0, version=2):
    """The files of a control group; sizes in GiB, None for no limit."""
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}[version]
    unlimited = {1: 2**63 - 4096, 2: "max"}[version]
    pages = {1: "inactive_file 1\ntotal_inactive_file", 2: "anon 1\ninactive_file"}[version]
    return {
        f"{folder}/{names[0]}": f"{unlimited if limit is None else limit * GIB}\n",
        f"{folder}/{names[1]}": f"{usage * GIB}\n",
        f"{folder}/memory.stat": f"{pages} {cache * GIB}\n",
    }


V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8),
        (group(V2, 4, 3), 1),
        (group(V2, 4, 3, cache=2), 3),
        (group(V2, None, 3), 8),
        (group(V2, 40, 3), 8),
        (group(V2, 2, 3), 0),
        ({"proc/self/cgroup": "0::/a/b\n"} | group(f"{V2}/a", 5, 3) | group(f"{V2}/a/b", None, 1), 2),
        ({"proc/self/cgroup": "3:cpu:/a\n2:memory:/a\n0::/\n"} | group(f"{V1}/a", 4, 3, 2, version=1), 3),
        ({"proc/self/cgroup": "2:cpu,memory:/host/name\n"} | group(V1, 4, 3, version=1), 1),
        ({"proc/self/cgroup": "2:memory:/\n"} | group(V1, None, 3, version=1), 8),
    ],
    ids=[
        *("alone", "limited", "with pages that can go", "unlimited", "limit beyond the machine", "over the limit"),
        *("limited from above", "version 1", "version 1, inside a container", "version 1, unlimited"),
    ],
)
def test_free_memory_is_what_machine_and_container_leave(system, files, free):
    assert free_memory(CPU, system(files)) == free * GIB


def test_free_memory_where_the_system_does_not_tell(tmp_path, system):
    assert free_memory(CPU, tmp_path) is None
    assert free_memory(CPU, system({"proc/meminfo": "no such system\n"})) is None


def test_free_memory_of_this_machine():
    free = free_memory(CPU)
    if free is None:
        pytest.skip("the system does not tell")
    assert 2**20 < free < 2**50


@pytest.mark.gpu
def test_free_memory_of_a_gpu_counts_what_torch_holds_unused():
    device = torch.device("cuda")
    torch.cuda.empty_cache()
    before = free_memory(device)
    kept = torch.empty(GIB // 4, dtype=torch.uint8, device=device)
    assert before - free_memory(device) > GIB // 5
    del kept
    assert abs(before - free_memory(device)) < GIB // 20


@pytest.mark.parametrize("name", ["mps", "meta", "xpu", "cpu:3", "cuda:x", "tpu"])
def test_only_the_devices_that_the_message_names(name):
    with pytest.raises(ValueError, match=f"^device: expected cpu, cuda or cuda:N, got {name}$"):
        parse_device(name)
