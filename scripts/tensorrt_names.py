"""`python scripts/tensorrt_names.py`: the names that each TensorRT has, written to tests/targets/tensorrt/names/.

The Python part of TensorRT is a small wheel of its own, the "bindings"; the libraries it is linked with are gigabytes
that pip cannot fetch from everywhere. Of those libraries the bindings ask for nine functions only when they are
imported: a library that has the nine and does nothing is enough to list every class, function and enum of the real
bindings. Nothing of TensorRT is run. It needs gcc, and pip with a registry that has the wheels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from inspect import isclass
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve()
NAMES = HERE.parents[1] / "tests" / "targets" / "tensorrt" / "names"
#: What is listed: the oldest that is supported (JetPack 6), the last 10, and an 11, which has dropped much.
VERSIONS = {
    "10.3.0": "tensorrt_cu12_bindings",
    "10.16.1.11": "tensorrt_cu12_bindings",
    "11.4.0.106": "tensorrt_cu13_bindings",
}
_LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
    "getPluginRegistry", "getNvOnnxParserVersion", "initLibNvInferPlugins",
)  # fmt: skip


def names_of(version: str) -> dict[str, str]:
    """What the bindings of one version have: class -> its own names, "" -> its functions and values.

    Raises:
        subprocess.CalledProcessError: no wheel of that version for this Python, no gcc that works, or no import.
        FileNotFoundError: no gcc.
    """
    with tempfile.TemporaryDirectory(prefix="tensorrt-names-") as folder:
        write_bindings(version, Path(folder))
        return _listed("tensorrt_bindings", {"LD_LIBRARY_PATH": folder, "PYTHONPATH": folder})


def write_bindings(version: str, folder: Path) -> None:
    """Put the package `tensorrt_bindings` of one version into a folder, and the libraries that do nothing beside it.

    Raises:
        subprocess.CalledProcessError: no wheel of that version for this Python, or no gcc that works.
        FileNotFoundError: no gcc.
    """
    wheel = _downloaded(f"{VERSIONS[version]}=={version}", folder)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    _write_libraries(folder, version.split(".")[0])


def installed(module: str = "tensorrt_rtx") -> tuple[str, dict[str, str]]:
    """(version, names) of a TensorRT that is installed.

    Raises:
        subprocess.CalledProcessError: it is not.
    """
    told = _listed(module, {})
    return told.pop("__version__"), told


def _downloaded(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), requirement], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def _write_libraries(folder: Path, major: str) -> None:
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    first, *others = (folder / f"{name}.so.{major}" for name in _LIBRARIES)
    gcc = shutil.which("gcc")
    if gcc is None:
        raise FileNotFoundError("gcc")
    subprocess.run([gcc, "-shared", "-fPIC", "-o", str(first), str(source)], check=True, capture_output=True)
    for other in others:
        shutil.copy(first, other)


def _listed(module: str, env: dict[str, str]) -> dict[str, str]:
    """The names of a module, imported in a process of its own."""
    command = [sys.executable, str(HERE), "--list", module]
    done = subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True, text=True)
    told: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return told if not env else {name: own for name, own in told.items() if name != "__version__"}


def listing(module: ModuleType) -> dict[str, str]:
    """The public names of a module and of its classes, those of the classes they are made from taken in."""
    found: dict[str, str] = {}
    others = []  # functions, and values such as float32
    for name in _public(module):
        value = getattr(module, name)
        if isclass(value) and value.__module__ != "builtins":
            _add_class(found, name, value)
        elif callable(value) or type(value).__module__.startswith(module.__name__):
            others.append(name)
    return {"": " ".join(others), **found}


def _add_class(found: dict[str, str], name: str, value: type) -> None:
    bases = [b.__name__ for b in value.__bases__ if b.__module__ == value.__module__]
    inherited = {inner for base in value.__bases__ for inner in dir(base)}
    own = [inner for inner in _public(value) if inner not in inherited]
    # `:ILayer` stands for the names of ILayer: every layer has them.
    found[name] = " ".join([*(f":{base}" for base in bases), *own])
    for inner in own:
        # An enum inside a class; the enum's own members are no classes.
        if isclass(getattr(value, inner, None)) and getattr(value, inner) is not value:
            _add_class(found, f"{name}.{inner}", getattr(value, inner))


def _public(value: object) -> list[str]:
    return sorted(name for name in dir(value) if not name.startswith("_"))


def write(library: str, version: str, names: dict[str, str]) -> None:
    """One list as JSON, one class a line."""
    told = {"library": library, "version": version, "names": names}
    NAMES.mkdir(parents=True, exist_ok=True)
    path = NAMES / f"{library}-{version}.json"
    path.write_text(json.dumps(told, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(names)} classes, {path.stat().st_size} bytes")


def main() -> None:
    """Make every list again, or print that of one module, with its version."""
    if len(sys.argv) == 3 and sys.argv[1] == "--list":
        import importlib

        module = importlib.import_module(sys.argv[2])
        print(json.dumps({**listing(module), "__version__": module.__version__}))
        return
    for version in VERSIONS:
        write("tensorrt", version, names_of(version))
    write("tensorrt_rtx", *installed())


if __name__ == "__main__":
    main()
