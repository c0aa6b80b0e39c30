"""Time our training step against a plain implementation of the article's script, alternating in one run.

The article has GAN and DCGAN; the steps of the other variants are timed alone. Both sides live in a process of their
own, since ours changes settings of its whole process. A side is asked for some steps at a time, in turn with the
other, so that what the machine does beside them meets both. Reported are the cold time (from the start of the process
to the end of the first step), the median warm time of a step, and the median and range of the ratios of neighbouring
blocks.
"""

import argparse
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, register_flop_formula

from mnist_gan import config, variants
from mnist_gan.config import TrainConfig
from mnist_gan.data.prepared import read_prepared
from mnist_gan.training import hardware
from mnist_gan.training.engine import Engine
from mnist_gan.training.kernels import product as onednn_product
from mnist_gan.variants import Options


@register_flop_formula(torch.ops.mkldnn._linear_pointwise)
def linear_flop(inputs: list[int], weight: list[int], *_: object, **__: object) -> int:
    """Floating-point operations of oneDNN's product, which torch does not count; shapes ``[N, K]`` and ``[M, K]``."""
    return 2 * inputs[0] * inputs[1] * weight[0]


def article_steps(shared: TrainConfig, options: Options) -> Iterator[None]:
    """The article's script: a DataLoader that transforms image by image, eager float32, ``.item()`` every batch."""
    from torchvision.datasets import MNIST
    from torchvision.transforms import Compose, Normalize, Resize, ToTensor

    class Raw(MNIST):  # type: ignore[misc]  # torchvision has no types
        raw_folder = "data/raw"

    device = hardware.choose(shared.device, shared.precision).device
    size = config.load().prepare.img_size
    transform = Compose([Resize(size), ToTensor(), Normalize([0.5], [0.5])])
    loader: torch.utils.data.DataLoader[tuple[torch.Tensor, int]] = torch.utils.data.DataLoader(
        Raw("data", transform=transform), batch_size=options.batch_size, shuffle=True, drop_last=True
    )
    networks = variants.build(shared.variant, options, shared.latent_dim, (1, size, size)).to(device)
    generator, discriminator = networks.generator, nn.Sequential(networks.discriminator, nn.Sigmoid())
    loss = nn.BCELoss()
    adams = [
        torch.optim.Adam(network.parameters(), lr=options.lr, betas=(options.b1, options.b2))
        for network in (generator, discriminator)
    ]
    while True:
        for images, _ in loader:
            real = images.to(device)
            valid = torch.ones(len(real), 1, device=device)
            fake = torch.zeros(len(real), 1, device=device)

            adams[0].zero_grad()
            generated = generator(torch.randn(len(real), shared.latent_dim, device=device))
            loss_g = loss(discriminator(generated), valid)
            loss_g.backward()
            adams[0].step()

            adams[1].zero_grad()
            loss_d = (loss(discriminator(real), valid) + loss(discriminator(generated.detach()), fake)) / 2
            loss_d.backward()
            adams[1].step()
            _ = loss_d.item(), loss_g.item()
            yield


def our_steps(shared: TrainConfig, options: Options) -> Iterator[None]:
    """The engine as the trainer uses it: records stay on the device until the epoch ends."""
    hardware.configure(shared.deterministic)
    engine = Engine(shared, options, read_prepared("train"))
    while True:
        records = []
        for record in engine.epoch():
            records.append(record)
            yield
        torch.stack(records).cpu()


ARTICLE = ("gan", "dcgan")
"""The variants that the article has."""
HEAD = """\
| variant | ours in | cold: article / ours (s) | warm step: article / ours (ms) | ratio: median (range) \
| GFLOP a step | arithmetic limit (ms) | ours over the limit |
| --- | --- | --- | --- | --- | --- | --- | --- |"""
SIDES = {"article": article_steps, "ours": our_steps}


def serve(name: str, shared: TrainConfig, options: Options, pipe: Connection) -> None:
    """Say when the first step is done (Unix time), then answer each number of steps with the seconds that they took."""
    steps = SIDES[name](shared, options)
    next(steps)
    _synchronize()
    pipe.send(time.time())
    while count := pipe.recv():
        started = time.perf_counter()
        for _ in range(count):
            next(steps)
        _synchronize()
        pipe.send(time.perf_counter() - started)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Flops(TorchDispatchMode):
    """Floating-point operations by torch's formulas, for each precision; torch's own counter fails at a penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.by_dtype: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.by_dtype[args[0].dtype] += formula(*args, **(kwargs or {}), out_val=out)
        return out


def flop_of_a_step(shared: TrainConfig, options: Options) -> dict[torch.dtype, float]:
    """Floating-point operations of a step of ours by precision, a mean over its kinds, launched one by one."""
    hardware.configure(shared.deterministic)
    engine = Engine(shared, options, read_prepared("train"))
    steps = getattr(options, "penalty_interval", 1)
    with Flops() as counted:
        for step in range(steps):
            engine.train(engine.order[: options.batch_size], engine.variant.kind(step))
    return {dtype: flop / steps for dtype, flop in counted.by_dtype.items()}


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a square matrix product, the best of several."""
    size = 1024 if device.type == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    # On a CPU oneDNN's in both precisions, the faster library on every processor with AVX-512.
    multiply = torch.mm if device.type == "cuda" else onednn_product
    multiply(left, right)
    seconds = []
    for _ in range(20):
        _synchronize()
        started = time.perf_counter()
        multiply(left, right)
        _synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def compare(shared: TrainConfig, options: Options, blocks: int, block_s: float) -> str:
    """One row of the table; that of a variant that the article lacks says nothing of its script."""
    flop = flop_of_a_step(shared, options)
    context = get_context("spawn")
    pipes, processes, colds, counts = {}, {}, {}, {}
    sides = list(SIDES) if shared.variant in ARTICLE else ["ours"]
    for name in sides:
        pipes[name], theirs = context.Pipe()
        started = time.time()
        processes[name] = context.Process(target=serve, args=(name, shared, options, theirs), daemon=True)
        processes[name].start()
        colds[name] = pipes[name].recv() - started
        pipes[name].send(3)
        counts[name] = max(3, round(block_s / (pipes[name].recv() / 3)))
    warm: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(blocks):
        for name, count in counts.items():
            pipes[name].send(count)
            warm[name].append(pipes[name].recv() / count)
    for name in sides:
        pipes[name].send(0)
        processes[name].join()

    here = hardware.choose(shared.device, shared.precision)
    medians = {name: statistics.median(seconds) * 1000 for name, seconds in warm.items()}
    limit = sum(count / matrix_rate(here.device, dtype) for dtype, count in flop.items()) * 1000
    ratio = ""
    if "article" in warm:
        ratios = sorted(theirs / ours for theirs, ours in zip(warm["article"], warm["ours"], strict=True))
        ratio = f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    columns = (
        shared.variant,
        here.precision,
        " / ".join(f"{cold:.1f}" for cold in colds.values()),
        " / ".join(f"{median:.4g}" for median in medians.values()),
        ratio,
        f"{math.fsum(flop.values()) / 1e9:.3g}",
        f"{limit:.3g}",
        f"{medians['ours'] / limit:.2g}",
    )
    return f"| {' | '.join(columns)} |"


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=9, help="pairs of blocks for each row (default 9)")
    parser.add_argument("--block-s", type=float, default=4, help="seconds of a block (default 4)")
    parser.add_argument("--variants", nargs="+", choices=config.VARIANTS, default=config.VARIANTS, help="default all")
    arguments = parser.parse_args()
    params = config.load()
    fast = hardware.choose(params.train.device, "auto")
    print(
        f"torch {torch.__version__}, {fast.environment['device']}, {torch.get_num_threads()} threads, "
        f"n = {arguments.blocks} pairs of blocks of about {arguments.block_s:g} s each\n"
    )
    print(HEAD)
    for variant in arguments.variants:
        options = variants.parse(variant, params.variants[variant])
        for precision in dict.fromkeys((fast.precision, "float32")):
            shared = params.train.model_copy(update={"variant": variant, "precision": precision})
            print(compare(shared, options, arguments.blocks, arguments.block_s), flush=True)


if __name__ == "__main__":
    main()
