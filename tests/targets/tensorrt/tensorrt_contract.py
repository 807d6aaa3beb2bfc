"""Which names of TensorRT a source uses, and which versions lack them: read from the source, nothing is run.

Known are the module (`trt`, `self._trt`), and objects by what makes them (`config = builder.create_builder_config()`)
or, where the source has the module too, by what they are called (`engine`, `self._engine`). A parameter that is
annotated with a class of ours (`profile: Profile`) is ours. A name that not every version has is asked for with
`getattr(trt.BuilderFlag, "NAME", None)`, which is not counted: only `getattr` without a default is.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent / "names"
MODULES = frozenset({"trt", "_trt"})
#: What an object is, by its name.
CALLED = {
    "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser", "config": "IBuilderConfig",
    "profile": "IOptimizationProfile", "engine": "ICudaEngine", "context": "IExecutionContext", "runtime": "Runtime",
    "cache": "ITimingCache", "layer": "ILayer", "error": "ParserError", "inspector": "EngineInspector",
}  # fmt: skip
#: What a method gives.
GIVES = {
    "create_network": "INetworkDefinition", "create_builder_config": "IBuilderConfig",
    "create_optimization_profile": "IOptimizationProfile", "create_timing_cache": "ITimingCache",
    "get_timing_cache": "ITimingCache", "build_serialized_network": "IHostMemory",
    "deserialize_cuda_engine": "ICudaEngine", "create_execution_context": "IExecutionContext",
    "create_engine_inspector": "EngineInspector", "get_layer": "ILayer", "get_error": "ParserError",
}  # fmt: skip


class Names:
    """The names that one version of TensorRT has."""

    def __init__(self, path: Path) -> None:
        told = json.loads(path.read_text(encoding="utf-8"))
        self.title = f"{told['library']} {told['version']}"
        self._own: dict[str, str] = told["names"]

    def of(self, name: str) -> set[str]:
        """The names that a class has, its bases' taken in; those of the module for ""."""
        if not name:
            return {*self._own[""].split(), *(one for one in self._own if "." not in one)}
        found: set[str] = set()
        for word in self._own.get(name, "").split():
            found |= self.of(word[1:]) if word.startswith(":") else {word}
        return found

    def has(self, used: str) -> bool:
        """Whether it has `Builder`, `BuilderFlag.TF32`, `ILogger.Severity.ERROR`."""
        owner, _, name = used.rpartition(".")
        if owner and owner not in self._own:
            return False
        return name in self.of(owner)


def script() -> ModuleType:
    """scripts/tensorrt_names.py, which makes the lists."""
    path = Path(__file__).resolve().parents[3] / "scripts" / "tensorrt_names.py"
    spec = importlib.util.spec_from_file_location("tensorrt_names", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every() -> list[Names]:
    """The lists of all versions."""
    return [Names(path) for path in sorted(FOLDER.glob("*.json"))]


def used(source: str, classes: Mapping[str, str] = CALLED) -> dict[str, int]:
    """Each name of TensorRT that a source uses, as `Class.name`, with the first line that does."""
    found: dict[str, int] = {}
    for name, line in _Uses(source, classes).run():
        if not name.rpartition(".")[2].startswith("__"):  # Python's own
            found.setdefault(name, line)
    return found


def lacking(source: str) -> list[str]:
    """`line 3: BuilderFlag.FP16 is not in tensorrt 11.4.0.106` for each name that some version lacks."""
    found = []
    for name, line in used(source).items():
        without = [names.title for names in every() if not names.has(name)]
        if without:
            found.append(f"line {line}: {name} is not in {', '.join(without)}")
    return found


class _Uses:
    """One walk over a source: what its names and attributes are, as far as it says; "" for what is not TensorRT's."""

    def __init__(self, source: str, classes: Mapping[str, str]) -> None:
        self.tree = ast.parse(source)
        names = {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(self.tree) if isinstance(n, ast.Attribute)}
        # A source that never says `trt` may call an object made elsewhere a layer: that is ours, or another library's.
        self.classes = classes if names & MODULES else {}
        self.attributes: dict[str, str] = {}

    def run(self) -> Iterator[tuple[str, int]]:
        """Each use: the second walk knows what the first has found out of `self.engine = ...`."""
        list(self._scope(self.tree, {}))
        yield from self._scope(self.tree, {})

    def _scope(self, scope: ast.AST, outer: Mapping[str, str]) -> Iterator[tuple[str, int]]:
        """Each use in a function or the module, then in the functions inside."""
        own = dict(outer)
        inner: list[ast.AST] = []
        nodes = list(_within(scope, inner))
        for node in nodes:
            self._learn(node, own)
        for node in nodes:
            yield from self._use(node, own)
        for function in inner:
            yield from self._scope(function, own)

    def _learn(self, node: ast.AST, own: dict[str, str]) -> None:
        """Put what a node says of a name into `own`, of an attribute of `self` into the attributes."""
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            if ast.unparse(node.annotation) not in {"Any", "ModuleType"}:
                own[node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)] = ""
        elif isinstance(node, ast.ExceptHandler) and node.name:
            own[node.name] = ""
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                pairs = zip(target.elts, node.value.elts, strict=False) if both else [(target, node.value)]
                for to, value in pairs:
                    self._assign(to, value, own)

    def _assign(self, to: ast.AST, value: ast.AST, own: dict[str, str]) -> None:
        name = to.id if isinstance(to, ast.Name) else to.attr if isinstance(to, ast.Attribute) else ""
        known = own if isinstance(to, ast.Name) else self.attributes
        made = self._class(value, own)
        if made is None and known.get(name) != "" and any(self._class(part, own) for part in ast.walk(value)):
            # Something made of TensorRT: `engine = given(runtime.deserialize_cuda_engine(plan), path)`.
            made = self._named(name, {})
        known[name] = made or ""

    def _use(self, node: ast.AST, own: Mapping[str, str]) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.Attribute):
            owner, name = self._class(node.value, own), node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) == 2:
            owner = self._class(node.args[0], own)
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
        else:
            return
        if owner and name:
            told = f"{owner}.{name}".removeprefix("trt.")
            yield told, node.lineno

    def _class(self, value: ast.AST, own: Mapping[str, str]) -> str | None:
        """`trt` for the module, `trt.Builder` for a class named, `Builder` for an object of it; None for no idea."""
        if isinstance(value, ast.Name):
            return self._named(value.id, own)
        if isinstance(value, ast.Attribute):
            owner = self._class(value.value, own)
            if value.attr in MODULES:
                return "trt"
            if owner in {"trt", "trt.ILogger"}:
                return None if value.attr.startswith("__") else f"{owner}.{value.attr}"
            return None if owner else self._named(value.attr, self.attributes)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            made = self._class(value.func, own)
            if made is not None and made.startswith("trt."):
                return made.removeprefix("trt.")
            return GIVES.get(value.func.attr)
        return None

    def _named(self, name: str, own: Mapping[str, str]) -> str | None:
        if name in MODULES:
            return "trt"
        if name in own:
            return own[name] or None
        return self.classes.get(name.lstrip("_"))


def _within(scope: ast.AST, inner: list[ast.AST]) -> Iterator[ast.AST]:
    """Everything in a scope but the bodies of the functions in it, which are put into `inner`."""
    for child in ast.iter_child_nodes(scope):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner.append(child)
        else:
            yield child
            yield from _within(child, inner)
