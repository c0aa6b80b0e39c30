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

from mnist_gan.errors import UserError
from mnist_gan.training import hardware

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


def test_precision_is_what_was_asked_for() -> None:
    for precision in ("float32", "bfloat16"):
        assert hardware.choose("cpu", precision).precision == precision


def test_cuda_without_a_gpu_is_refused(small: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=r"train\.device: cuda, but torch finds no usable GPU"):
        hardware.choose("cuda", "auto")
    set_params(small, train__device="cuda")
    done = run_stage("train", small)
    assert done.returncode == 1
    assert done.stderr.startswith("error: train.device: cuda, but torch finds no usable GPU")
    assert not (small / "models/generator").exists()


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
        pytest.skip("only root may make a mount namespace")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
