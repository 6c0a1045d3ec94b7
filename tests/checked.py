"""The checks of jaxtyping's import hook at half their time: types of arguments and results, and axes between them, once a call.

jaxtyping's own wrapper looks at every argument twice and binds all of them to names for its message: two fifths of the time
that the tests of allocators take. Here beartype checks a function's own signature inside jaxtyping's context, which holds the
sizes of axes; it writes the check when the function is first called, since most functions of the package are never called by
one process of the tests.
"""

import functools
import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import is_dataclass
from types import FunctionType
from typing import Any, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep612Exception

_jaxtyped: Any = jaxtyping.jaxtyped
_CONTEXT = _jaxtyped("context")
_CONFIGURATION = BeartypeConf(violation_type=jaxtyping.TypeCheckError)
"""Errors are those of jaxtyping, a TypeError: what reads files takes one for a damaged file."""


def install(package: str) -> None:
    """Check everything that `package` defines, from its first import on."""
    jaxtyping.jaxtyped = _decorator  # type: ignore[assignment]  # the hook asks for it by this name
    jaxtyping.install_import_hook(package, "beartype.beartype")


def _decorator(*, typechecker: Any) -> Callable[[Any], Any]:
    def decorate(item: Any) -> Any:
        if inspect.isfunction(item) and not inspect.isgeneratorfunction(item) and not inspect.iscoroutinefunction(item):
            return checked(item)
        if isinstance(item, type) and is_dataclass(item) and inspect.isfunction(vars(item).get("__init__")):
            item.__init__ = checked(item.__init__)  # type: ignore[method-assign]
            return item
        return _jaxtyped(item, typechecker=typechecker)

    return decorate


def checked(function: Any) -> Any:
    """The function with its arguments and its result checked."""
    bodies: list[Any] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not bodies:
            bodies.append(_with_checks(function))
        with _CONTEXT:
            return bodies[0](*args, **kwargs)

    return call


def _with_checks(function: FunctionType) -> Any:
    known = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    known.__kwdefaults__ = function.__kwdefaults__
    known.__qualname__, known.__module__ = function.__qualname__, function.__module__
    known.__annotations__ = {name: _hint(hint, function.__globals__) for name, hint in function.__annotations__.items()}
    with suppress(BeartypeDecorHintPep612Exception):  # *args of a ParamSpec, which has no names
        return beartype(conf=_CONFIGURATION)(known)
    return _jaxtyped(function, typechecker=beartype)


def _hint(hint: Any, names: dict[str, Any]) -> Any:
    """What an annotation stands for; Any for what only the type checker imports, as in jaxtyping's hook."""

    def holder() -> None: ...

    holder.__annotations__ = {"hint": hint}
    try:
        return get_type_hints(holder, names, include_extras=True)["hint"]
    except Exception:  # noqa: BLE001 - NameError, or whatever evaluating it raises
        return Any
