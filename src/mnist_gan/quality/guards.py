"""What a distance may not see of one result: copies of training images, and digits that are never drawn."""

from collections.abc import Mapping

COPIES = 0.02
"""A generator copies where more of its images than these are taken for copies: twice as many as of the test images.
Other unseen images get up to 0.015 (docs/calibration.md)."""
PRESENT = 0.01
"""A digit is drawn where at least this part of the images is taken for it."""
SPACES = {"judge": "judges", "autoencoder": "autoencoder"}
NEAR = "lie nearer to a training image than all but 1% of unseen ones"

Quality = Mapping[str, float]
"""All measures of one result: metrics/evaluate.json, flat."""


def copies(quality: Quality) -> float:
    """The part of the images that are taken for copies, where that is more than of unseen images; else 0."""
    beyond = [space for space in SPACES if quality[f"interval/{space}/copies/low"] > COPIES]
    return max((quality[f"{space}/copies"] for space in beyond), default=0.0)


def missing_digits(quality: Quality) -> list[int]:
    """The digits that the generator seldom or never draws."""
    return [digit for digit in range(10) if quality[f"digits/{digit}"] < PRESENT]
