"""What Planform raises on purpose: one class above all, and those that belong to no part of it."""

from __future__ import annotations


class PlanformError(Exception):
    """Above all that is raised on purpose; what is not below it is a fault of ours, or of the system.

    Classes below it are below the class of Python that fits too: ValueError, or FileNotFoundError.
    """


class ArgumentError(PlanformError, ValueError):
    """An argument that a function does not take; the message says what it takes."""


class FileError(PlanformError, OSError):
    """A file that is not what is asked for; what the system refuses is its own OSError."""


class MissingFile(FileError, FileNotFoundError):
    """There is no such file, or no such plan of the atlas."""


class OutOfMemory(PlanformError, MemoryError):
    """More memory is needed than the machine has."""
