"""Runs in MLflow: written while a training goes on, completed, read, registered and served.

The only room that imports mlflow. Stages, commands and report enter, first by ``store.connect``.
"""
