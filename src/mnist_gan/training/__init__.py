"""How a variant is trained on the hardware at hand, and the files that a training leaves.

Stages enter; tracking reads generators' files. Progress and tracking are handed in as observers.
"""
