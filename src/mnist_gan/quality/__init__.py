"""The measuring instrument: frozen networks, measures, their intervals, and the verdict over seeds.

Stages and report enter. It knows images, not how they were made.
"""
