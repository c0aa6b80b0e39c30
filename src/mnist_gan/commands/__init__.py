"""What a person types beside dvc, ``python -m mnist_gan NAME``: one file for each command.

Nothing imports a command. With the stages they are the only ones that join rooms.
"""
