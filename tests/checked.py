"""The checks of jaxtyping's import hook in a fraction of their time: types of arguments and results, and axes between them.

jaxtyping's own wrapper looks at every argument twice and binds all of them to names for its message: two fifths of the time
that the tests of allocators take. Here beartype checks a function's own signature inside jaxtyping's context, which holds the
sizes of axes; it writes the check when the function is first called, since most functions of the package are never called by
one process of the tests. Whether a call fits its annotations depends on types and on arrays' shapes only, so that a call is
checked when a type or a shape of it is new to the function.
"""

import functools
import inspect
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import is_dataclass
from itertools import islice
from types import FunctionType
from typing import Any, get_type_hints

import jaxtyping
import numpy as np
import torch
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep612Exception

_jaxtyped: Any = jaxtyping.jaxtyped
_CONTEXT = _jaxtyped("context")
_CONFIGURATION = BeartypeConf(violation_type=jaxtyping.TypeCheckError)
"""Errors are those of jaxtyping, a TypeError: what reads files takes one for a damaged file."""
_NEXT = threading.local()
"""`body`: what runs between the check of the arguments and that of the result."""
_ARRAYS = frozenset((torch.Tensor, torch.nn.Parameter, np.ndarray))


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
    checks: list[Any] = []
    fitting: set[Any] = set()

    def check(body: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if not checks:
            checks.append(_with_checks(function))
        outer, _NEXT.body = getattr(_NEXT, "body", None), body
        try:
            with _CONTEXT:
                return checks[0](*args, **kwargs)
        finally:
            _NEXT.body = outer

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            given = (len(args), *map(form, args), *kwargs, *map(form, kwargs.values()))
        except NoFormError:
            return check(function, args, kwargs)
        if given in fitting:
            result = function(*args, **kwargs)
            with suppress(NoFormError):
                if (given, form(result)) in fitting:
                    return result
            check(lambda *args, **kwargs: result, args, kwargs)
        else:
            result = check(function, args, kwargs)
            fitting.add(given)
        with suppress(NoFormError):
            fitting.add((given, form(result)))
        return result

    return call


class NoFormError(Exception):
    """Raised for a value whose content annotations may name, of which `form` would not tell enough."""


def form(value: Any) -> Any:
    """What decides whether a value fits an annotation: its type, an array's shape, the forms of what a container holds."""
    kind = type(value)
    if kind in _ARRAYS:
        return kind, value.dtype, value.shape
    if kind is tuple:
        return kind, *map(form, value)
    if kind is str:  # a Literal's
        return value[:50]
    if _is_closed(kind):
        return kind
    if isinstance(value, type):
        return value
    if kind is dict:  # beartype looks at its first item,
        return kind, *(form(part) for item in islice(value.items(), 1) for part in item)
    if kind is list and len(value) <= 100 and len(forms := set(map(form, value))) < 2:  # and at any one element
        return kind, *forms
    raise NoFormError


@functools.cache
def _is_closed(kind: type) -> bool:
    return issubclass(kind, bytes | np.generic) or not issubclass(kind, Collection | type)


def _with_checks(function: FunctionType) -> Any:
    known = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    known.__kwdefaults__ = function.__kwdefaults__
    known.__qualname__, known.__module__ = function.__qualname__, function.__module__
    known.__annotations__ = {name: _hint(hint, function.__globals__) for name, hint in function.__annotations__.items()}

    @functools.wraps(known)
    def body(*args: Any, **kwargs: Any) -> Any:
        return _NEXT.body(*args, **kwargs)

    with suppress(BeartypeDecorHintPep612Exception):  # *args of a ParamSpec, which has no names
        return beartype(conf=_CONFIGURATION)(body)
    return _jaxtyped(body, typechecker=beartype)


def _hint(hint: Any, names: dict[str, Any]) -> Any:
    """What an annotation stands for; Any for what only the type checker imports, as in jaxtyping's hook."""

    def holder() -> None: ...

    holder.__annotations__ = {"hint": hint}
    try:
        return get_type_hints(holder, names, include_extras=True)["hint"]
    except Exception:  # noqa: BLE001 - NameError, or whatever evaluating it raises
        return Any
