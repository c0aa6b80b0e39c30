"""What a training runs on is chosen, named and set up, also on machines that are not this one."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import pytest
import torch
from conftest import ROOT, run_stage, set_params

from mnist_gan.config import VARIANTS, load
from mnist_gan.errors import UserError
from mnist_gan.training import hardware
from mnist_gan.training.engine import hardware_for
from mnist_gan.training.hardware import Hardware, memory_named

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}
ARM = {"architecture": "aarch64", "cpu_name": "Neoverse-V2", "neon": True, "sve": True, "bf16": True}
AMD = {"architecture": "x86_64", "cpu_name": "AMD EPYC", "avx512_f": True, "avx512_bf16": True, "amx_bf16": False}
INTEL = {"architecture": "x86_64", "cpu_name": "Intel Xeon", "avx512_f": True, "avx512_bf16": True, "amx_bf16": False}
AMX = INTEL | {"amx_bf16": True}


@pytest.mark.parametrize(("can", "name"), [(ARM, "Neoverse"), (AMD, "AMD"), (INTEL, "Intel"), (AMX, "AMX")])
def test_every_processor_has_a_name_and_a_precision(
    monkeypatch: pytest.MonkeyPatch, can: Mapping[str, Any], name: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can)
    chosen = hardware.choose("cpu", "auto")
    assert name in chosen.environment["device"]
    assert chosen.precision in ("float32", "bfloat16")
    assert chosen.reason


def test_auto_takes_bfloat16_but_where_the_variant_is_surer_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: AMX)
    shared = load(ROOT / "params.yaml").train.model_copy(update={"device": "cpu"})
    chosen = {name: hardware_for(shared.model_copy(update={"variant": name})).precision for name in VARIANTS}
    assert chosen == dict.fromkeys(VARIANTS, "bfloat16") | {"gan": "float32"}
    asked = shared.model_copy(update={"variant": "gan", "precision": "bfloat16"})
    assert hardware_for(asked).precision == "bfloat16"


def test_precision_is_what_was_asked_for() -> None:
    for precision in ("float32", "bfloat16"):
        assert hardware.choose("cpu", precision).precision == precision


def test_cuda_without_a_gpu_is_refused(small: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a machine without a GPU (this one has one)")
    with pytest.raises(UserError, match="torch cannot use the GPU"):
        hardware.choose("cuda", "auto")
    set_params(small, train__device="cuda")
    done = run_stage("train", small)
    assert done.returncode == 1
    assert done.stderr.startswith("error: torch cannot use the GPU (Found no NVIDIA driver")
    assert done.stderr.endswith("or set train.device to cpu\n")
    assert done.stderr.count("\n") == 1
    assert not (small / "models/generator").exists()


def test_a_gpu_that_torch_cannot_use_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system counts one whose driver is older than torch's CUDA."""
    if torch.cuda.is_available():
        pytest.skip("a machine without a GPU (this one has one)")
    assert hardware.choose("auto", "auto").device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="torch cannot use the GPU"):
        hardware.choose("auto", "auto")
    assert hardware.choose("cpu", "auto").device.type == "cpu"


def test_a_gpu_without_kernels_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors")

    monkeypatch.setattr(torch, "zeros", refuse)
    with pytest.raises(UserError, match=r"\(CUDA error: no kernel image is available for execution on the device\):"):
        hardware.try_kernel(torch.device("cpu"))


def test_bfloat16_that_a_gpu_emulates_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    with pytest.raises(UserError, match=r"train\.precision: bfloat16, which this GPU only emulates"):
        hardware.choose("auto", "bfloat16")
    assert hardware.choose("auto", "auto").precision == "float32"


def test_a_full_gpu_is_named() -> None:
    with pytest.raises(UserError, match="the GPU's memory is full: lower the variant's batch_size"), memory_named():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_threads_determine_what_a_cpu_makes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    assert "threads" in Hardware(torch.device("cpu"), "float32", "").environment
    assert "threads" not in Hardware(torch.device("cuda"), "float32", "").environment


def test_float32_is_float32_on_a_gpu() -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    hardware.configure()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_threads_follow_the_quota_and_never_exceed_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        monkeypatch.setattr(joblib, "cpu_count", lambda: 3)
        hardware.configure()
        assert torch.get_num_threads() == 3
        torch.set_num_threads(1)
        hardware.configure()
        assert torch.get_num_threads() == 1
        hardware.configure(threads=5)
        assert torch.get_num_threads() == 5
    finally:
        torch.set_num_threads(before)


def test_a_containers_quota_is_seen() -> None:
    """What a container with half a processor finds, in a mount namespace of its own."""
    program = (
        "import torch; torch.set_num_threads(2)\n"
        "from mnist_gan.training import hardware; hardware.configure(); print(torch.get_num_threads())"
    )
    script = 'mount -t tmpfs none /sys/fs/cgroup && echo "50000 100000" > /sys/fs/cgroup/cpu.max && exec "$0" -c "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable, program]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("a quota of processors (only root may make a mount namespace)")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
