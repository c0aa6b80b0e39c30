"""Curves in MLflow are means over windows at absolute steps, however the steps arrive."""

import torch

from mnist_gan.tracking.run import window_means, window_of


def test_windows_end_at_multiples_and_the_last_at_the_end() -> None:
    values = torch.arange(14.0).view(7, 2)
    assert window_means(0, values, 3) == [(3, [2, 3]), (6, [8, 9]), (7, [12, 13])]
    assert window_means(30, values[:6], 3) == [(33, [2, 3]), (36, [8, 9])]
    assert window_means(30, values[:0], 3) == []


def test_an_epoch_has_about_ten_points() -> None:
    assert [window_of(steps) for steps in (3, 16, 235, 938)] == [1, 1, 23, 93]
