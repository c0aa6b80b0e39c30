"""One module per stage of dvc.yaml, under the same name; each runs as a program."""
