"""How a variant is trained on the hardware at hand, and the files that a training leaves.

Stages enter; tracking reads generators' files. Whoever looks on (progress, tracking) is handed in as an observer.
"""
