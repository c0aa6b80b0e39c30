"""Make the ruler that generators are measured with: what the frozen networks see in real images, and the floor."""

from mnist_gan.data.mnist import read_prepared
from mnist_gan.quality.ruler import Ruler
from mnist_gan.quality.sight import Eyes
from mnist_gan.training import hardware


def main() -> None:
    """Write models/ruler/."""
    hardware.configure()
    look = Eyes()
    made = Ruler.of(look(read_prepared("test").images), look(read_prepared("train").images))
    made.write()
    distance, interval = (part["judge"]["frechet_distance"] for part in (made.floor, made.floor["interval"]))
    print(f"real images: Fréchet distance {distance:.3f} ({interval['low']:.3f} to {interval['high']:.3f})")
