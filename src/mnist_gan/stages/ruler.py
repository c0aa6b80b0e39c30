"""Make the ruler that generators are measured with: what the frozen networks see in real images, and the floor."""

from mnist_gan import config
from mnist_gan.data.prepared import digest, read_prepared
from mnist_gan.files import sha256
from mnist_gan.quality import autoencoder, judge
from mnist_gan.quality.ruler import Ruler
from mnist_gan.quality.sight import Eyes
from mnist_gan.training import hardware


def main() -> None:
    """Write models/ruler/."""
    samples = config.load().evaluate.samples
    hardware.configure()
    test, training = read_prepared("test"), read_prepared("train")
    frozen = (sha256(path.read_bytes()) for path in (*judge.PATHS, autoencoder.PATH))
    made_of = sha256(" ".join([*frozen, digest(test), digest(training)]).encode())
    made = Ruler.of(Eyes(), test, training, samples, made_of)
    made.write()
    distance, interval = (part["judge"]["frechet_distance"] for part in (made.floor, made.floor["interval"]))
    print(f"real images: Fréchet distance {distance:.3f} ({interval['low']:.3f} to {interval['high']:.3f})")
