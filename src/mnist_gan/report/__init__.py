"""What runs have to say to a person: one result in a few lines, or many runs on one page.

Commands and the stage ``publish`` enter.
"""
