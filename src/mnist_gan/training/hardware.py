"""The machine: device, precision, number of threads, and the switches of a whole process.

``configure`` throws the switches; a stage that computes calls it once, before anything else.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import joblib
import torch

from mnist_gan.config import Device, Precision, Threads
from mnist_gan.errors import UserError

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""mallopt's parameters, of glibc's malloc.h."""


def configure(deterministic: bool = True, threads: Threads = "auto") -> None:
    """Set up this process for computing.

    Args:
        deterministic: use only kernels that give the same bits every time.
        threads: of a CPU; ``auto`` takes OMP_NUM_THREADS, else as many as there are cores.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # What torch.use_deterministic_algorithms does, but for importing its compiler, which takes seconds.
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    torch.backends.cudnn.benchmark = not deterministic
    # Filling new memory finds reads of it before a write; it made no result deterministic and took 40% of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # float32 means float32: by default cuDNN's convolutions round their inputs to TF32's ten bits.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_flush_denormal(True)  # denormals are slow and of no use
    # In a container with a quota, torch counts the cores of the host.
    torch.set_num_threads(min(torch.get_num_threads(), joblib.cpu_count()) if threads == "auto" else threads)
    _keep_memory()


def _keep_memory() -> None:
    """Have glibc keep freed memory for the next step.

    By default it gives every large tensor back to the system, which hands it out again page by page, filled with
    zeros: a third of DCGAN's step.
    """
    libc = ctypes.CDLL(None)
    for parameter, value in (MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 << 20):
        libc.mallopt(parameter, value)


@dataclass(frozen=True)
class Hardware:
    """What a training runs on, and in which precision."""

    device: torch.device
    precision: Precision
    reason: str
    """Why this precision."""

    @property
    def environment(self) -> dict[str, str]:
        """What determines a result beside data, parameters and code; the number of threads, on a CPU alone."""
        threads = {"threads": str(torch.get_num_threads())} if self.device.type == "cpu" else {}
        return {"device": _name(self.device), **threads, "precision": self.precision, "torch": torch.__version__}


def choose(device: Device, precision: Precision, bfloat16: bool = True) -> Hardware:
    """The hardware to train on; ``auto`` takes a GPU if there is one, and bfloat16 where its products are faster.

    Args:
        device: as train.device says.
        precision: as train.precision says.
        bfloat16: whether ``auto`` may mean bfloat16.

    Raises:
        UserError: there is a GPU, or one is asked for, and it cannot be used; or it has no bfloat16 that is asked for.
    """
    chosen = torch.device("cuda" if device == "cuda" or (device == "auto" and torch.cuda.device_count()) else "cpu")
    if chosen.type == "cuda":
        _gpu_tried(torch.cuda.init)
    reason = _fast_bfloat16(chosen)
    if precision == "bfloat16" and chosen.type == "cuda" and not reason:
        raise UserError("train.precision: bfloat16, which this GPU only emulates; set auto or float32")
    if precision != "auto":
        return Hardware(chosen, precision, "as train.precision says")
    if not bfloat16:
        return Hardware(chosen, "float32", "which this variant is surer in")
    if reason:
        return Hardware(chosen, "bfloat16", reason)
    return Hardware(chosen, "float32", "which is no slower than bfloat16 here")


def try_kernel(device: torch.device) -> None:
    """Compute something on ``device``.

    Raises:
        UserError: it is a GPU that torch's wheel has no kernels for, being older than they are.
    """
    _gpu_tried(lambda: torch.zeros(1, device=device).item())


@contextmanager
def memory_named() -> Iterator[None]:
    """Say in one line that a GPU's memory is full.

    Raises:
        UserError: it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            "the GPU's memory is full: lower the variant's batch_size, or end what else `nvidia-smi` lists"
        ) from None


def _gpu_tried(use: Callable[[], object]) -> None:
    try:
        use()
    except (AssertionError, RuntimeError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise UserError(f"torch cannot use the GPU ({reason}): mend that, or set train.device to cpu") from None


def _fast_bfloat16(device: torch.device) -> str:
    """Why products in bfloat16 take less time than in float32; empty where they do not."""
    if device.type == "cuda":
        return "by the GPU's tensor cores" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    can = torch.cpu.get_capabilities()
    if can.get("amx_bf16"):
        return "by the processor's AMX"
    # Intel's AVX512_BF16 gives as many products a cycle as its float32, AMD's twice as many.
    return "by the processor's AVX512_BF16" if can.get("avx512_bf16") and "AMD" in can["cpu_name"] else ""


def _name(device: torch.device) -> str:
    """The GPU, or the processor with the instructions that torch's kernels differ by."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    can = torch.cpu.get_capabilities()
    amx = ["AMX"] if can.get("amx_bf16") else []
    return ", ".join([can["cpu_name"], torch.backends.cpu.get_cpu_capability(), *amx])
