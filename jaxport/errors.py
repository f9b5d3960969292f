"""Errors that a user can cause. The command line prints them in a line or two and exits with 2, without a traceback."""


class JaxportError(Exception):
    """Base of every error caused by input: its message names the argument, the value it got and what would be right."""


class DataError(JaxportError, ValueError):
    """A data file or folder is missing, damaged or not what its name says."""


class WeightsError(JaxportError, ValueError):
    """Weights cannot be read, or do not fit the module that they are loaded into."""


class UsageError(JaxportError, ValueError):
    """A name, option or path given to jaxport cannot be used."""


class HostError(JaxportError, RuntimeError):
    """A process of a run on several hosts does not find the others, or one of them is gone."""
