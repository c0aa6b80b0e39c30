"""Time our training step against a plain implementation of the article's script, alternating in one run.

Both sides live in a process of their own, since ours changes settings of its whole process. A side is asked for some
steps at a time, in turn with the other, so that what the machine does beside them meets both. Reported are the cold
time (from the start of the process to the end of the first step), the median warm time of a step, and the median
and range of the ratios of neighbouring blocks.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from mnist_gan import config, variants
from mnist_gan.config import TrainConfig
from mnist_gan.data.prepared import read_prepared
from mnist_gan.training import hardware
from mnist_gan.training.engine import Engine
from mnist_gan.training.hardware import Hardware
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


def flop_of_a_step(shared: TrainConfig, options: Options) -> float:
    """Floating-point operations of a step of ours, counted by torch, which does not see into a graph's replay."""
    hardware.configure(shared.deterministic)
    engine = Engine(shared, options, read_prepared("train"))
    with FlopCounterMode(display=False) as counter:
        engine.train(engine.order[: options.batch_size], engine.variant.kind(0))
    return float(counter.get_total_flops())


def matrix_rate(here: Hardware) -> float:
    """Floating-point operations a second of a square matrix product, the best of several."""
    dtype = torch.bfloat16 if here.precision == "bfloat16" else torch.float32
    size = 1024 if here.device.type == "cpu" else 8192
    left, right = (torch.randn(size, size, device=here.device).to(dtype) for _ in range(2))
    # On a CPU oneDNN's in both precisions, the faster library on every processor with AVX-512.
    multiply = torch.mm if here.device.type == "cuda" else onednn_product
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
    """One row of the table."""
    flop = flop_of_a_step(shared, options)
    context = get_context("spawn")
    pipes, processes, colds, counts = {}, {}, {}, {}
    for name in SIDES:
        pipes[name], theirs = context.Pipe()
        started = time.time()
        processes[name] = context.Process(target=serve, args=(name, shared, options, theirs), daemon=True)
        processes[name].start()
        colds[name] = pipes[name].recv() - started
        pipes[name].send(3)
        counts[name] = max(3, round(block_s / (pipes[name].recv() / 3)))
    warm: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(blocks):
        for name, count in counts.items():
            pipes[name].send(count)
            warm[name].append(pipes[name].recv() / count)
    for name in SIDES:
        pipes[name].send(0)
        processes[name].join()

    ratios = sorted(theirs / ours for theirs, ours in zip(warm["article"], warm["ours"], strict=True))
    here = hardware.choose(shared.device, shared.precision)
    ours = statistics.median(warm["ours"])
    limit = flop / matrix_rate(here)
    return (
        f"| {shared.variant} | {here.precision} "
        f"| {colds['article']:.1f} / {colds['ours']:.1f} "
        f"| {statistics.median(warm['article']) * 1000:.4g} / {ours * 1000:.4g} "
        f"| **{statistics.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
        f"| {flop / 1e9:.3g} | {limit * 1000:.3g} | {ours / limit:.2g} |"
    )


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=9, help="pairs of blocks for each row (default 9)")
    parser.add_argument("--block-s", type=float, default=4, help="seconds of a block (default 4)")
    parser.add_argument("--variants", nargs="+", default=ARTICLE, choices=ARTICLE, help="default both")
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
