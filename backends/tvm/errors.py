"""What can go wrong between a plan and machine code. Codes are those of `planform explain`."""

from __future__ import annotations

from ...compiler.errors import PlanformError


class BackendError(PlanformError):
    """A build, target or artifact that cannot be; `code` names the diagnostic, `help` what may be done."""

    def __init__(self, code: str, message: str, *help: str) -> None:
        super().__init__(message)
        self.code = code
        self.help = help


class TargetError(BackendError):
    """A description of a machine that stands for none."""


class BuildError(BackendError):
    """Machine code that cannot be made here."""


class ArtifactError(BackendError):
    """A file that is no artifact, is damaged, or is not for this machine."""


class InputError(PlanformError, ValueError):
    """What was given to a compiled plan does not fit its inputs; the message uses the plan's names."""
