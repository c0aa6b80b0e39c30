"""Bring the selected data set to data/raw: fetch a published one, or copy that of a folder of one's own."""

from mnist_gan import config
from mnist_gan.data import raw, sets
from mnist_gan.data.sources import download


def main() -> None:
    """Write data/raw, or nothing."""
    params = config.load()
    path = sets.path(params.data.name)
    recipe = sets.recipe(path)
    if recipe is None:
        raw.write_images(path)
    else:
        raw.write_files(recipe, download(params.data.name, recipe, params.download.mirrors))
