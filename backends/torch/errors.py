"""What can go wrong between a plan and torch."""

from __future__ import annotations

from ...compiler.errors import PlanformError


class LoweringError(PlanformError):
    """The plan cannot be expressed in torch; the message names the operator and where it stands."""


class ModeError(PlanformError, RuntimeError):
    """A module is called in a mode that its plan does not have at its sizes; the message says why."""


class InputError(PlanformError, ValueError):
    """What was given to a module does not fit the plan's inputs; the message uses the plan's names."""
