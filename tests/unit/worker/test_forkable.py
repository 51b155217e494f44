"""What is known of a process of which no fork could use the graphics processor."""

from __future__ import annotations

import pytest

from talo.worker.forkable import initialised, unforkable

LIBC = "7f1c2a000000-7f1c2a1c3000 r-xp 00028000 08:01 1312 /usr/lib/x86_64-linux-gnu/libc.so.6\n"
CUDA = "7f1c28000000-7f1c2801d000 r-xp 00000000 08:01 77 /usr/lib/x86_64-linux-gnu/libcuda.so.550.54.14\n"
WSL = "7f1c28000000-7f1c2801d000 r-xp 00000000 08:01 77 /usr/lib/wsl/drivers/nv.inf_amd64/libcuda.so.1.1\n"
RUNTIME = "7f1c24000000-7f1c2401d000 r-xp 00000000 08:01 78 /venv/nvidia/lib/libcudart.so.12\n"
HIP = "7f1c20000000-7f1c2001d000 r-xp 00000000 08:01 79 /opt/rocm/lib/libamdhip64.so.6\n"
HSA = "7f1c20000000-7f1c2001d000 r-xp 00000000 08:01 80 /venv/torch/lib/libhsa-runtime64.so\n"
NVIDIA = ["/dev/null", "pipe:[4711]", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0"]


@pytest.mark.promise("D12")
@pytest.mark.parametrize(
    ("maps", "files", "driver"),
    [
        pytest.param(LIBC + RUNTIME + CUDA, NVIDIA, "CUDA", id="CUDA"),
        pytest.param(LIBC + WSL, ["/dev/dxg"], "CUDA", id="CUDA under WSL"),
        pytest.param(LIBC + HIP, ["/dev/null", "/dev/kfd", "/dev/dri/renderD128"], "ROCm", id="ROCm by HIP"),
        pytest.param(LIBC + HSA, ["/dev/kfd"], "ROCm", id="ROCm by HSA"),
        pytest.param(LIBC + CUDA, ["/run/sandbox/root/dev/nvidia0"], "CUDA", id="a device under another root"),
        pytest.param(LIBC + RUNTIME + CUDA, ["/dev/null"], None, id="mapped by an import, and not initialised"),
        pytest.param(LIBC + RUNTIME, NVIDIA, None, id="the device is only watched"),
        pytest.param(LIBC + CUDA, ["/dev/kfd"], None, id="one's library and the other's device"),
        pytest.param(LIBC + CUDA, ["/srv/nvidia0", "/dev/nvidia/notes"], None, id="files of such names"),
        pytest.param("", [], None, id="nothing"),
    ],
)
def test_a_driver_is_initialised_when_it_is_mapped_and_has_its_device(
    maps: str, files: list[str], driver: str | None
) -> None:
    assert initialised(maps, files) == driver


def test_this_process_may_fork() -> None:
    assert unforkable() is None
