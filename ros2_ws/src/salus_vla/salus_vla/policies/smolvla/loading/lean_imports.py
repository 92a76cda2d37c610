"""Imports the ensemble without what a process that only runs it never uses.

`import lerobot.policies` imports the configuration of every policy that LeRobot has, and with them its data sets and
OpenCV; transformers imports scikit-learn, and pandas with it, for assisted text generation, and SciPy for the losses of
object detection, and reads the list of files of every installed distribution to know the version of a dozen. That is
more than a third of what the imports take (docs/benchmarks.md). Here names of `lerobot.policies` are imported when
somebody asks for them, transformers finds neither SciPy nor scikit-learn, and gets a look-up of distributions.

For processes of SALUS only: somebody who uses SALUS as a library gets LeRobot and transformers as they are.
"""

from __future__ import annotations

import ast
import gc
import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any, Final

ENSEMBLE: Final = "salus_vla.policies.smolvla.inference.ensemble_policy"
DEFERRED: Final = "lerobot.policies"
UNUSED: Final = ("scipy", "sklearn")


def import_ensemble() -> None:
    """Imports the ensemble; what is imported already stays as it is."""
    with ExitStack() as meanwhile:
        meanwhile.enter_context(_without_collection())
        meanwhile.enter_context(_distributions_looked_up())
        for name in UNUSED:
            meanwhile.enter_context(_absent(name))
        meanwhile.enter_context(_deferring(DEFERRED))
        importlib.import_module(ENSEMBLE)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Modules are not garbage: nobody looks through them again and again while they become more."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _distributions_looked_up() -> Iterator[None]:
    """`importlib.metadata.packages_distributions` gives a mapping that looks up only what it is asked for."""
    original = importlib.metadata.packages_distributions
    found: list[Distributions] = []

    def looked_up() -> Distributions:
        found.append(Distributions(original))
        return found[-1]

    importlib.metadata.packages_distributions = looked_up
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = original
        for mapping in found:
            mapping.quick = False


class Distributions(Mapping[str, list[str]]):
    """Names of the distributions that provide a package, as `importlib.metadata.packages_distributions` lists them.

    Attributes:
        quick: whether a distribution of a package's own name is all that is looked for; its version is what
            transformers asks for while it is imported. Later everything is looked through, once.
    """

    def __init__(self, look_through: Callable[[], Mapping[str, list[str]]]) -> None:
        """Looks through the distributions by this function, where it has to."""
        self.quick = True
        self._look_through = look_through
        self._whole: Mapping[str, list[str]] | None = None

    def __getitem__(self, package: str) -> list[str]:
        if self.quick and self._whole is None:
            try:
                return [importlib.metadata.metadata(package)["Name"]]
            except importlib.metadata.PackageNotFoundError:
                pass  # of another name: PIL is in Pillow
        return self._all()[package]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, list[str]]:
        if self._whole is None:
            self._whole = self._look_through()
        return self._whole


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """A package that is not imported yet cannot be found meanwhile."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to say so
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def _deferring(name: str) -> Iterator[None]:
    """A package that is imported meanwhile imports its names when they are asked for."""
    finder = _Finder(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            return None
        places = found.submodule_search_locations
        loader = _Loader(fullname, found.origin)
        return spec_from_file_location(fullname, found.origin, loader=loader, submodule_search_locations=places)


class _Loader(SourceFileLoader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return DeferredPackage(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        tree = ast.parse(self.get_data(self.path))
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        module.__dict__["_origins"] = {
            alias.asname or alias.name: (f"{'.' * node.level}{node.module or ''}", alias.name)
            for node in imports
            for alias in node.names
        }

    def run(self, module: ModuleType) -> None:
        """Runs the package's own code."""
        super().exec_module(module)


class DeferredPackage(ModuleType):
    """A package whose `__init__` has not run: what it imports from is known, anything else makes it run."""

    def __getattr__(self, name: str) -> Any:
        """Imports what is asked for.

        Raises:
            AttributeError: the package has no such name.
        """
        origins: dict[str, tuple[str, str]] | None = self.__dict__.get("_origins")
        loader = self.__dict__.get("__loader__")
        if origins is None or not isinstance(loader, _Loader):  # its own code has run, or it is being made
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if name in origins:
            module, original = origins[name]
            value = getattr(importlib.import_module(module, self.__name__), original)
            setattr(self, name, value)
            return value
        del self.__dict__["_origins"]
        loader.run(self)
        return getattr(self, name)
