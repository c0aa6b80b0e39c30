"""What is said to a person: a training while it goes on, one result in a few lines, many runs on one page.

Commands and the stages ``train`` and ``publish`` enter.
"""
