"""Train GAN and DCGAN on MNIST as a reproducible, tracked and judged pipeline."""
