"""What a value is: its fields are named, it does not change, it compares by content.

A class that derives from `Value` is what `@dataclass(frozen=True, kw_only=True)` would make of it,
and `dataclasses` takes it for one (fields, replace, asdict). Its methods are these here, though,
where a frozen dataclass has six compiled for every class, which every command would wait for.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: bool) -> Callable[[type], type]:
        """Do nothing: this is for type checkers (PEP 681; `typing` has it since Python 3.11)."""
        return lambda cls: cls


__all__ = ["Value"]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Value:
    """The base of classes whose fields are the annotations in their bodies.

    A field with a default, or a `field(default_factory=...)`, may be left out. Raises TypeError for
    fields that are missing or not known, FrozenInstanceError (an AttributeError) for a change.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    _defaults: ClassVar[dict[str, object]]

    def __init_subclass__(cls) -> None:
        """Find the fields of a class."""
        dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
        cls._defaults = {field.name: field.default for field in fields(cls)}

    def __init__(self, **given: object) -> None:
        """Take each field's value by its name."""
        values = {**self._defaults, **given}
        unknown = list(values)[len(self._defaults) :]
        missing = []
        for name in [name for name, value in values.items() if value is MISSING]:
            factory = self.__dataclass_fields__[name].default_factory
            if factory is MISSING:
                missing.append(name)
            else:
                values[name] = factory()
        for what, names in (("no field", unknown), ("no value for", missing)):
            if names:
                raise TypeError(f"{type(self).__name__} has {what} {', '.join(names)}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Raise FrozenInstanceError."""
        raise FrozenInstanceError(f"{type(self).__name__}.{name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        """Raise FrozenInstanceError."""
        raise FrozenInstanceError(f"{type(self).__name__}.{name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        """Say whether both are of one class and all their fields are equal."""
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Return the hash of all fields; raise TypeError when one of them has none."""
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        """Return what would make this value."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__qualname__}({shown})"
