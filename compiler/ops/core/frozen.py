"""Immutable classes whose annotated fields are keyword arguments, as frozen dataclasses have them.

A dataclass compiles five methods for each class. There are hundreds of operators, and whoever checks a plan
would wait longer for those than for the plan; here all classes have the same five.
"""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import Any, ClassVar, NoReturn, cast


class Frozen:
    """Base of the classes: fields by `dataclasses.fields`, changed copies by `dataclasses.replace`."""

    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(init=False, repr=False, eq=False)(cls)
        cls._defaults = {item.name: item.default for item in fields(cls)}  # pyright: ignore[reportArgumentType]

    def __init__(self, **arguments: Any) -> None:
        """Raises TypeError for fields that there are not, or that are missing."""
        values = {**self._defaults, **arguments}
        if len(values) > len(self._defaults):
            unknown = ", ".join(name for name in arguments if name not in self._defaults)
            raise TypeError(f"{type(self).__name__} has no field {unknown}")
        missing = [name for name, value in values.items() if value is MISSING]
        if missing:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _values(self) -> tuple[Any, ...]:
        own = self.__dict__
        return tuple([own[name] for name in self._defaults])

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        return self._values() == cast("Frozen", other)._values()

    def __hash__(self) -> int:
        # Hashing is frequent, since inference is memoised.
        known = self.__dict__.get("_hash")
        if known is None:
            known = self.__dict__["_hash"] = hash((type(self).__qualname__, self._values()))
        return known

    def __getstate__(self) -> dict[str, Any]:
        # Texts have other hashes in another process.
        return {name: self.__dict__[name] for name in self._defaults}
