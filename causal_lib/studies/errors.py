"""`LogError`: the one error for a log or a file of roles that cannot be studied."""


class LogError(ValueError):
    """The log, or what was said about its columns, cannot be used; the message says what to change.

    The command ends with status 2 and writes nothing.
    """
