"""How a variant's step meets the hardware: memory layout, precision, optimizers, CUDA graphs.

The mathematics stays in ``variants``, the choice of hardware in ``hardware``.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from mnist_gan import variants
from mnist_gan.config import TrainConfig
from mnist_gan.data.images import to_float, to_uint8
from mnist_gan.data.prepared import Split
from mnist_gan.errors import UserError
from mnist_gan.training import hardware
from mnist_gan.training.adam import Adam
from mnist_gan.training.hardware import Hardware
from mnist_gan.training.kernels import accelerate
from mnist_gan.training.muon import Muon
from mnist_gan.variants import Options

SEEN = 500
"""Images that a variant sees at once, before the training."""


def hardware_for(shared: TrainConfig) -> Hardware:
    """What the variant that ``shared`` selects is trained on; raises UserError where that cannot be used."""
    return hardware.choose(shared.device, shared.precision, variants.named(shared.variant).auto_bfloat16)


class Engine:
    """A variant, its optimizers and all images on one device, and how far the training has come.

    Everything random (weights, order, noise, dropout) comes from the device's default generator, seeded here.
    """

    def __init__(self, shared: TrainConfig, options: Options, split: Split) -> None:
        """Build the variant that ``shared`` selects.

        Args:
            shared: what all variants share.
            options: the variant's own.
            split: all training images and their labels.
        """
        self.hardware = hardware_for(shared)
        self.device = self.hardware.device
        hardware.try_kernel(self.device)
        torch.manual_seed(shared.seed)
        channels, height, width = split.images.shape[1:]
        variant = variants.build(
            shared.variant, options, shared.latent_dim, (channels, height, width), len(split.classes.names)
        )
        self.variant = variant.to(self.device).to(memory_format=torch.channels_last)
        self._fit_to_hardware()

        self.lr = torch.tensor(options.lr, device=self.device)
        networks = self.variant.generator, self.variant.discriminator
        self.parameters = {network: list(network.parameters()) for network in networks}
        self.optimizers = {network: self._optimizers(network, options) for network in networks}
        self.images = split.images.to(self.device).contiguous(memory_format=torch.channels_last)
        self.labels = split.labels.long().to(self.device)
        self.variant.see(to_float(images) for images in self.images.split(SEEN))
        self.options = options
        self.epoch_steps = steps_per_epoch(len(self.images), options.batch_size)
        self.total_steps = options.epochs * self.epoch_steps
        self.order = torch.randperm(len(self.images), device=self.device)
        self.steps = 0
        """Optimizer steps that are done."""
        self.graphs: dict[tuple[tuple[str, bool], ...], Graph] = {}

    def _optimizers(self, network: nn.Module, options: Options) -> list[Adam | Muon]:
        """Muon for what the variant says, and Adam for the rest."""
        chosen = set(map(id, self.variant.by_muon))
        by_muon = [parameter for parameter in self.parameters[network] if id(parameter) in chosen]
        by_adam = [parameter for parameter in self.parameters[network] if id(parameter) not in chosen]
        return [Adam(by_adam, self.lr, (options.b1, options.b2)), Muon(by_muon, self.lr, options.b1)]

    def _fit_to_hardware(self) -> None:
        """Put in faster layers, and end bfloat16 where it would hurt."""
        accelerate(self.variant, self.device, self.hardware.precision)
        for module in self.variant.modules():
            if isinstance(module, nn.Unflatten):
                module.register_forward_hook(lambda _module, _input, x: x.contiguous(memory_format=torch.channels_last))
            elif isinstance(module, nn.Tanh):
                # In bfloat16 the gradient of an image's last activation is off by up to twice a batch's noise.
                module.register_forward_pre_hook(lambda _module, inputs: (inputs[0].float(),))
        if self.hardware.precision == "bfloat16":
            self.variant.discriminator.register_forward_hook(lambda _network, _images, logits: logits.float())

    def epoch(self) -> Iterator[Tensor]:
        """Train on what is left of this epoch; yields the record's values ``[R]`` of each step, on the device.

        An epoch is every image once, in a random order.
        """
        done = self.steps % self.epoch_steps
        for indices in torch.split(self.order, self.options.batch_size)[done:]:
            self.lr.fill_(self.options.lr * self.variant.rate(self.steps / self.total_steps))
            kind = self.variant.kind(self.steps)
            record = self._replay(indices, kind) if self.device.type == "cuda" else self.train(indices, kind)
            self.steps += 1
            if self.steps % self.epoch_steps == 0:
                self.order = torch.randperm(len(self.images), device=self.device)
            yield record

    def train(self, indices: Tensor, kind: Mapping[str, bool]) -> Tensor:
        """One step of a ``kind`` on the images at ``indices`` ``[N]``; returns the record's values."""
        labels = (self.labels.index_select(0, indices),) if self.variant.labelled else ()
        step = self.variant.step(to_float(self.images.index_select(0, indices)), *labels, **kind)
        while True:
            try:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.hardware.precision == "bfloat16"):
                    network, loss, keep_graph = next(step)
            except StopIteration as end:
                record: Tensor = end.value
                return record
            # Gradients of the other network would be thrown away: they are not computed.
            loss.backward(inputs=self.parameters[network], retain_graph=keep_graph)
            for optimizer in self.optimizers[network]:
                optimizer.step()

    def _replay(self, indices: Tensor, kind: Mapping[str, bool]) -> Tensor:
        """``train`` without its launches: a full batch replays a captured step, what is left goes the long way."""
        if len(indices) < self.options.batch_size:
            return self.train(indices, kind)
        key = tuple(kind.items())
        if key not in self.graphs:
            before = self.state()
            self.graphs[key] = Graph(lambda indices: self.train(indices, kind), indices)
            self.load(before)
        return self.graphs[key](indices)

    def state(self) -> dict[str, Tensor]:
        """All that decides how the training goes on, copied to the CPU."""
        state = {
            name: tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in self._tensors().items()
        }
        return state | {"steps": torch.tensor(self.steps), "order": self.order.cpu(), "random": self._random()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state`` returned.

        Raises:
            RuntimeError: the state is of a training on another kind of device.
        """
        for name, tensor in self._tensors().items():
            tensor.copy_(state[name])
        self.order = state["order"].to(self.device)
        self.steps = int(state["steps"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"])
        else:
            torch.set_rng_state(state["random"])

    def _random(self) -> Tensor:
        return torch.cuda.get_rng_state() if self.device.type == "cuda" else torch.get_rng_state()

    def _tensors(self) -> dict[str, Tensor]:
        """Weights, buffers and moments by name, as they are in use; detached, so that they can be written."""
        sides = ("generator", self.variant.generator), ("discriminator", self.variant.discriminator)
        moments = {
            f"{side}.{key}.{i}": tensor
            for side, network in sides
            for optimizer in self.optimizers[network]
            for key, tensors in optimizer.state.items()
            for i, tensor in enumerate(tensors)
        }
        return self.variant.state_dict() | moments

    @torch.inference_mode()
    def sample(self, latents: Tensor) -> Tensor:
        """Images uint8 ``[N, C, H, W]``, on the device, from latents ``[N, latent_dim]``, in eval mode and float32."""
        generator = self.variant.drawn.eval()
        images = to_uint8(generator(latents.to(self.device, non_blocking=True)))
        generator.train()
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
        """Train on the images at ``indices``; returns the record's values."""
        self.indices.copy_(indices)
        self.graph.replay()
        return self.record.clone()


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps in one epoch, the last on what is left.

    Raises:
        UserError: a single image would be left, which BatchNorm cannot normalise.
    """
    if images % batch_size == 1:
        raise UserError(f"batch_size: {batch_size} leaves one image of {images} alone in a batch; take another")
    return -(-images // batch_size)
