"""The one exception that reaches a user as a sentence."""


class UserError(Exception):
    """Bad input, said in one sentence that names the file, row or key and the remedy.

    The command line prints it without a traceback and exits with status 2.
    """
