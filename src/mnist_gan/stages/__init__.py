"""One file for each stage of dvc.yaml: read parameters, call the rooms, write outs.

DVC enters. Nothing imports a stage.
"""
