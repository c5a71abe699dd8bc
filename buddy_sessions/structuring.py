"""Writes the function that makes a frozen model from a JSON object: what cattrs would write, at half the cost.

Two things save it. A value that its field takes as it is passes without a call. And the `__init__` of a frozen class
sets each field by `object.__setattr__`, which costs more than all checks together: so the object is filled as an
instance of a subclass that is not frozen, and becomes one of the model before anyone sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import reduce
from operator import or_
from types import NoneType
from typing import Any, NoReturn, TypeVar, cast, get_args

import attrs
import cattrs

_M = TypeVar("_M", bound=attrs.AttrsInstance)

Hook = Callable[[Any, Any], Any]

_AS_IT_IS: dict[Any, str] = {
    str: "type(value) is str",
    int: "type(value) is int",
    bool: "type(value) is bool",
    int | float: "type(value) is int",
}
"""For a field's type, on which condition the converter's hook gives a value back as it is."""


def thawed(model: type[_M], **members: Any) -> type[_M]:
    """Return a subclass of a frozen class with slots that is not frozen; `x.__class__ = model` ends the thaw.

    Args:
        model: The class.
        members: What the subclass has beside it; no slots.
    """
    # Both: they are one slot in C, which looks them up in Python each time unless neither is inherited from the model.
    members |= {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    return cast("type[_M]", type(model.__name__, (model,), members))


def make_structure_fn(
    model: type[_M], converter: cattrs.Converter, refuse: Callable[[Any], NoReturn], **own: tuple[Hook, str]
) -> Callable[[Any, Any], _M]:
    """Return a hook that makes a `model` from a dict; it raises what the fields' hooks raise, or KeyError.

    Args:
        model: A frozen attrs class with slots. A field that may be missing is None by default, and may be None.
        converter: Knows a hook for the type of each field; the hook is never asked about None where None may be.
        refuse: Raises, given what is no dict.
        own: Fields' own hooks, instead of those for their types; each with the condition, an expression of `value`, on
            which it gives a value back as it is.
    """
    attrs.resolve_types(model)
    scope: dict[str, Any] = {"new": object.__new__, "model": model, "thawed": thawed(model), "refuse": refuse}
    lines = [
        "def structure(item, _):",
        "    if type(item) is not dict:",
        "        refuse(item)",
        "    get = item.get",
        "    made = new(thawed)",
    ]
    for field in attrs.fields(model):
        name, optional = field.name, field.default is None
        kind = reduce(or_, [one for one in get_args(field.type) if one is not NoneType] or [field.type])
        hook, easy = own.get(name) or (converter.get_structure_hook(kind), _AS_IT_IS.get(kind, ""))
        scope |= {f"kind_{name}": kind, f"hook_{name}": hook}
        made = f"hook_{name}(value, kind_{name})"
        if isinstance(kind, type) and issubclass(kind, Enum):
            scope[f"known_{name}"] = {member.value: member for member in kind}.get
            made = f"type(value) is str and known_{name}(value) or {made}"
        conditions = " or ".join([easy] * bool(easy) + ["value is None"] * optional)
        lines += [
            f"    value = get({name!r})" if optional else f"    value = item[{name!r}]",
            f"    made.{name} = " + (f"value if {conditions} else {made}" if conditions else made),
        ]
    lines += ["    made.__class__ = model", "    return made"]
    exec("\n".join(lines), scope)  # noqa: S102 - as attrs and cattrs do; the fields' names are all that varies
    structure: Callable[[Any, Any], _M] = scope["structure"]
    return structure
