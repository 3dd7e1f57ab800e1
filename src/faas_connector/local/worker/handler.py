"""Imports a function's folder as the package `function`, and says in one line why it can't."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

PACKAGE = "function"
_CO_COROUTINE = 0x80


class HandlerError(Exception):
    """The handler can't be used; the message is one line with file and line."""


class _FreshLoader(SourceFileLoader):
    """Compiles the source each time.

    The cache knows a file by its size and the second it was saved: a second save within the
    second would bring up the old code. Nor do we want `__pycache__` in the user's folder.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _Finder:
    """Finds the package `function` and what is in it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == PACKAGE:
            init = f"{self._folder}/__init__.py"
            if os.path.isfile(init):  # noqa: PTH113  (pathlib takes 5 ms)
                return importlib.util.spec_from_file_location(
                    name,
                    init,
                    loader=_FreshLoader(name, init),
                    submodule_search_locations=[self._folder],
                )
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [self._folder]
            return spec
        if not name.startswith(f"{PACKAGE}."):
            return None
        found = PathFinder.find_spec(name, path)
        if found and isinstance(found.loader, SourceFileLoader):
            found.loader = _FreshLoader(name, found.loader.path)
        return found


def load_handler(folder: str) -> Callable[..., Any]:
    """`handle` of `handler.py` in the folder.

    Raises:
        HandlerError: it can't be imported, or there is no such function.
    """
    sys.meta_path.insert(0, _Finder(folder))
    path = f"{folder}/handler.py"
    try:
        module = importlib.import_module(f"{PACKAGE}.handler")
    except ModuleNotFoundError as error:
        if error.name == f"{PACKAGE}.handler" and not os.path.exists(path):  # noqa: PTH110
            raise HandlerError(
                f"{path} is missing; it needs a function: def handle(event, context)"
            ) from error
        raise HandlerError(_missing_module(error, folder)) from error
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        raise HandlerError(f"{where}: {type(error).__name__}: {error.msg}") from error
    except BaseException as error:  # a handler's module may raise whatever it likes
        text = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise HandlerError(f"{_place(error.__traceback__, folder) or path}: {text}") from error
    handle: Callable[..., Any] | None = getattr(module, "handle", None)
    if handle is None or not callable(handle):
        raise HandlerError(f"{path}:1: there is no function 'handle'; write: def handle(…)")
    code: CodeType | None = getattr(handle, "__code__", None)
    if code and code.co_flags & _CO_COROUTINE:
        raise HandlerError(
            f"{path}:{code.co_firstlineno}: handle is an 'async def', which the template can't "
            "call; write 'def handle' and use asyncio.run inside"
        )
    return handle


def _missing_module(error: ModuleNotFoundError, folder: str) -> str:
    place = _place(error.__traceback__, folder) or f"{folder}/handler.py"
    name = error.name or ""
    if name.split(".")[0] == PACKAGE or not name:
        return f"{place}: {error}"
    requirements = f"{folder}/requirements.txt"
    if os.path.isfile(requirements):  # noqa: PTH113
        advice = f"install the function's requirements: pip install -r {requirements}"
    else:
        package = name.split(".")[0]
        advice = f"install it: pip install {package} (and name it in {requirements})"
    return f"{place}: No module named {name!r}; {advice}"


def _place(trace: TracebackType | None, folder: str) -> str | None:
    """The last line of the folder's own code in the traceback."""
    place: str | None = None
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(f"{folder}/"):
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
