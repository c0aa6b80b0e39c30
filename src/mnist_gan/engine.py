"""How the training step meets the hardware: device, precision, memory layout, determinism.

All speed and all device logic live here; ``objective`` holds the mathematics alone.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mnist_gan.config import Device, Precision, TrainConfig
from mnist_gan.errors import UserError
from mnist_gan.images import to_float, to_uint8
from mnist_gan.kernels import FusedAdam, accelerate
from mnist_gan.networks import build
from mnist_gan.objective import AdversarialStep

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""mallopt's parameters, of glibc's malloc.h."""


class Engine:
    """Both networks, their optimizers and all images, on one device.

    Everything random (weights, order, noise, dropout) comes from the device's default generator, seeded here.
    """

    def __init__(self, options: TrainConfig, images: Tensor) -> None:
        """``images``: all training images, uint8 ``[N, C, H, W]``."""
        self.device = choose_device(options.device)
        self.precision = choose_precision(options.precision, self.device)
        make_deterministic(options.deterministic)
        keep_memory()
        torch.manual_seed(options.seed)

        channels, height, width = images.shape[1:]
        networks = build(options.variant, options.latent_dim, (channels, height, width))
        self.generator, self.discriminator = (
            network.to(self.device).to(memory_format=torch.channels_last) for network in networks
        )
        for network in (self.generator, self.discriminator):
            accelerate(network, onednn=self.device.type == "cpu" and self.precision == "float32")
        if self.precision == "bfloat16":
            # Losses are computed in float32: bfloat16 ends at the logits.
            self.discriminator.register_forward_hook(lambda _network, _images, logits: logits.float())
        for module in self.generator.modules():
            if isinstance(module, nn.Unflatten):
                module.register_forward_hook(lambda _module, _input, x: x.contiguous(memory_format=torch.channels_last))
        self.optimizers = tuple(
            FusedAdam(network.parameters(), lr=options.lr, betas=(options.b1, options.b2))
            for network in (self.generator, self.discriminator)
        )
        self.step = AdversarialStep(self.generator, self.discriminator, *self.optimizers)
        self.images = images.to(self.device).contiguous(memory_format=torch.channels_last)
        self.batch_size = options.batch_size
        self.latent_dim = options.latent_dim
        self.order = torch.randperm(len(images), device=self.device)
        self.position = 0
        self.graph: Graph | None = None

    @property
    def reads_freely(self) -> bool:
        """Whether reading a value waits for no device: progress can show each step."""
        return self.device.type == "cpu"

    def epoch(self) -> Iterator[Tensor]:
        """Train on what is left of this epoch; yields RECORD's values of each step, on the device.

        An epoch is every image once, in a random order.
        """
        for indices in torch.split(self.order, self.batch_size)[self.position :]:
            record = self._replay(indices) if self.device.type == "cuda" else self.train(indices)
            self.position += 1
            if self.position == steps_per_epoch(len(self.images), self.batch_size):
                self.order = torch.randperm(len(self.images), device=self.device)
                self.position = 0
            yield record

    def train(self, indices: Tensor) -> Tensor:
        """One step on the images at ``indices`` ``[N]`` and fresh noise; returns RECORD's values."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            latents = torch.randn(len(indices), self.latent_dim, device=self.device)
            return self.step(to_float(self.images.index_select(0, indices)), latents)

    def _replay(self, indices: Tensor) -> Tensor:
        """``train`` without its launches: a full batch replays the captured step, what is left goes the long way."""
        if len(indices) < self.batch_size:
            return self.train(indices)
        if self.graph is None:
            before = self.state()
            self.graph = Graph(self.train, indices)
            self.load(before)
        return self.graph(indices)

    def state(self) -> dict[str, Tensor]:
        """All that decides how the training goes on, copied to the CPU."""
        state = {
            name: tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in self._tensors().items()
        }
        return state | {"order": self.order.cpu(), "position": torch.tensor(self.position), "random": self._random()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state`` returned.

        Raises:
            KeyError, RuntimeError: the state is of another training.
        """
        for name, tensor in self._tensors().items():
            tensor.copy_(state[name])
        self.order = state["order"].to(self.device)
        self.position = int(state["position"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"])
        else:
            torch.set_rng_state(state["random"])

    def _random(self) -> Tensor:
        return torch.cuda.get_rng_state() if self.device.type == "cuda" else torch.get_rng_state()

    def _tensors(self) -> dict[str, Tensor]:
        """Weights, buffers and Adam's moments by name, as they are in use; detached, so that they can be written."""
        networks = ("generator", self.generator), ("discriminator", self.discriminator)
        return {
            f"{side}.{name}": tensor
            for (side, network), optimizer in zip(networks, self.optimizers, strict=True)
            for name, tensor in (network.state_dict() | optimizer.state()).items()
        }

    @torch.inference_mode()
    def sample(self, latents: Tensor) -> Tensor:
        """Images uint8 ``[N, C, H, W]``, on the device, from latents ``[N, latent_dim]``, in eval mode and float32."""
        self.generator.eval()
        images = to_uint8(self.generator(latents.to(self.device, non_blocking=True)))
        self.generator.train()
        return images


class Graph:
    """A training step as one CUDA graph: a single launch in place of hundreds."""

    def __init__(self, train: Callable[[Tensor], Tensor], indices: Tensor) -> None:
        """Capture ``train`` for batches like ``indices``. This trains, so that the caller puts its state back."""
        self.indices = indices.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # libraries choose and set up what a capture does not allow
                train(self.indices)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.record = train(self.indices)

    def __call__(self, indices: Tensor) -> Tensor:
        """Train on the images at ``indices``; returns RECORD's values."""
        self.indices.copy_(indices)
        self.graph.replay()
        return self.record.clone()


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps in one epoch, the last on what is left.

    Raises:
        UserError: a single image would be left, which BatchNorm cannot normalise.
    """
    if images % batch_size == 1:
        raise UserError(f"train.batch_size: {batch_size} leaves one image of {images} alone in a batch; take another")
    return -(-images // batch_size)


def environment(device: torch.device, precision: Precision) -> dict[str, str]:
    """What determines the result beside data, parameters and code: hardware, precision, library version."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name()
    else:
        name = f"{processor()['model name']}, {torch.backends.cpu.get_cpu_capability()}"
    return {
        "device": name,
        "threads": str(torch.get_num_threads()),
        "precision": precision,
        "torch": torch.__version__,
    }


def choose_device(device: Device) -> torch.device:
    """The device to train on.

    Raises:
        UserError: ``cuda`` is asked for and there is no usable GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device: cuda, but torch finds no usable GPU; set auto or cpu, or check the GPU's driver")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """``auto`` takes bfloat16 where the hardware multiplies it faster than float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Intel's AVX512_BF16 gives as many products a cycle as its float32, AMD's twice as many.
        avx512 = torch.cpu._is_avx512_bf16_supported() and processor()["vendor_id"] == "AuthenticAMD"
        fast = torch.cpu._is_amx_tile_supported() or avx512
    return "bfloat16" if fast else "float32"


def processor() -> dict[str, str]:
    """What Linux says of the first processor, such as its ``model name``."""
    first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    lines = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def make_deterministic(wanted: bool = True) -> None:
    """Only kernels that give the same bits every time, if ``wanted``; denormals, slow and of no use, become zero."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted
    # Filling new memory finds reads of it before a write; it made no result deterministic and took 40% of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)


def keep_memory() -> None:
    """Have glibc keep freed memory for the next step.

    By default it gives every large tensor back to the system, which hands it out again page by page, filled with
    zeros: a third of DCGAN's step.
    """
    libc = ctypes.CDLL(None)
    for parameter, value in (MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 << 20):
        libc.mallopt(parameter, value)
