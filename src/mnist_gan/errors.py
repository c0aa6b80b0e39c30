"""The one exception for what a user can put right."""


class UserError(Exception):
    """Something the user can put right. Its message says what is wrong, where, and what to do."""
