"""MNIST: where it comes from, the prepared tensors, and images as numbers and pictures.

Every room above may enter. Nothing here knows a network or a run.
"""
