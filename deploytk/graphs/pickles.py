"""What a pickle would import and call, read from its opcodes without loading it."""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deploytk.errors import InputError

CheckpointKind = Literal["deploytk-detector", "deploytk-classifier", "ultralytics", "state_dict", "other"]

#: The format that `backends/ultralytics` writes: a weights-only file, a dict with this as its "format".
DETECTOR = "deploytk-detector-1"
#: And the one of `backends/classifier`.
CLASSIFIER = "deploytk-classifier-1"

#: Whose checkpoints open without running code -> the backend that opens them.
BACKENDS = {"deploytk-detector": "ultralytics", "deploytk-classifier": "classifier"}

#: What a file of plain tensors names, and `torch.load(weights_only=True)` takes.
_WEIGHTS = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_(tensor_v2|tensor_v3|parameter)|torch\.\w+Storage|torch\.Size|torch\.device"
    r"|torch\.storage\.UntypedStorage|torch\.(float|bfloat|int|uint|complex)\d+|torch\.bool"
)
#: What a pickled Ultralytics model names besides. Classes only: the functions in these modules open files, and
#: some (`parse_model`) evaluate text.
_ULTRALYTICS = re.compile(
    r"ultralytics\.(nn|engine)\.[\w.]+\.[A-Z]\w*|ultralytics\.utils\.(IterableSimpleNamespace|SimpleClass)"
    r"|ultralytics\.utils\.(loss|tal|metrics)\.[A-Z]\w*|torch\.nn\.modules\.\w+\.[A-Z]\w*|torch\.nn\.parameter\.Parameter"
    r"|numpy\.(core|_core)\.multiarray\.(scalar|_reconstruct)|numpy\.(ndarray|dtype)|numpy\.dtypes\.\w+|_codecs\.encode"
    r"|collections\.(defaultdict|Counter|deque)|types\.SimpleNamespace|pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path"
    r"|(builtins|__builtin__)\.(set|frozenset|dict|list|tuple|int|float|complex|str|bytes|bytearray|bool|slice|range|object)"
    r"|datetime\.\w+|copyreg\._reconstructor|copy_reg\._reconstructor"
)
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")
_MAX_PICKLE_BYTES = 1 << 28
#: What a damaged stream makes pickletools raise.
_DAMAGE = (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError, MemoryError, EOFError)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What stands in the pickles of a file."""

    globals: tuple[str, ...] = ()  # "module.name" of everything it would import, in order, each once
    strings: frozenset[str] = frozenset()
    broken: str = ""  # why a stream cannot be read to its end; empty for a whole one

    @property
    def foreign(self) -> tuple[str, ...]:
        """The globals that neither weights nor an Ultralytics model need: they can run any code."""
        return tuple(g for g in self.globals if not (_WEIGHTS.fullmatch(g) or _ULTRALYTICS.fullmatch(g)))

    @property
    def weights_only(self) -> bool:
        """Whether it holds nothing but tensors and plain values."""
        return not self.broken and all(_WEIGHTS.fullmatch(g) for g in self.globals)


def look(path: Path) -> Contents:
    """What the pickles in a .pt, .pkl or .zip file would import; nothing of it is loaded or called.

    Raises:
        InputError: the file cannot be read.
    """
    found: list[str] = []
    strings: set[str] = set()
    broken = ""
    for stream in _streams(path):
        machine = _Machine()
        broken = machine.read(stream) or broken
        found += machine.globals
        strings |= machine.strings
    return Contents(globals=tuple(dict.fromkeys(found)), strings=frozenset(strings), broken=broken)


def checkpoint_kind(path: Path) -> CheckpointKind:
    """Whose checkpoint a file is, told from the names in it; nothing is loaded."""
    return kind_of(look(path))


def kind_of(contents: Contents) -> CheckpointKind:
    """Whose checkpoint has these contents."""
    if contents.weights_only and contents.globals:
        if CLASSIFIER in contents.strings:
            return "deploytk-classifier"
        return "deploytk-detector" if DETECTOR in contents.strings else "state_dict"
    return "ultralytics" if any(g.startswith("ultralytics.") for g in contents.globals) else "other"


def require_loadable(path: Path, *, trust: bool) -> CheckpointKind:
    """Whose checkpoint it is, where deploytk may open it: its own weights-only file, or Ultralytics' with `trust`.

    Raises:
        InputError: a broken or foreign pickle; one that would run other code is refused even with `trust`.
    """
    contents = look(path)
    if contents.foreign:
        raise InputError(f"{path}: refused, --trust or not: loading it would run {_few(contents.foreign)}")
    if contents.broken:
        raise InputError(f"{path}: damaged pickle ({contents.broken}); copy or download it again")
    kind = kind_of(contents)
    if kind in BACKENDS:
        return kind
    if kind == "ultralytics" and trust:
        return kind
    if kind == "ultralytics":
        raise InputError(
            f"{path}: a pickled Ultralytics model; unpickling runs code from the file, so deploytk opens it only with "
            "--trust. Give --trust if you know where it is from, or its ONNX"
        )
    what = "weights without a network" if kind == "state_dict" else "a pickle that is no detector"
    raise InputError(f"{path}: {what}; give the model.pt of a deploytk run, an Ultralytics .pt, or an ONNX")


def backend_of(path: Path) -> str:
    """The backend that opens a checkpoint without --trust.

    Raises:
        InputError: none does.
    """
    return BACKENDS[require_loadable(path, trust=False)]


def warning(contents: Contents) -> str:
    """What loading the file would run, as the end of a sentence; empty where it would run nothing."""
    return f"; loading it would run {_few(contents.foreign)}" if contents.foreign else ""


def looks_like_pickle(head: bytes) -> bool:
    """Whether a file that begins with `head` is a pickle of any protocol."""
    if head[:1] == b"\x80" and head[1:2] in b"\x01\x02\x03\x04\x05" and len(head) > 2:
        return True
    # Protocol 0 has no header: a stream that ends properly, or that imports something with a proper name.
    machine = _Machine()
    broken = machine.read(head)
    if not broken and machine.opcodes > 2 and machine.length >= len(head.rstrip()):
        return True
    return bool(machine.globals) and machine.opcodes > 1


def _few(names: tuple[str, ...], count: int = 5) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _streams(path: Path) -> Iterator[bytes]:
    try:
        if zipfile.is_zipfile(path):
            yield from _members(path)
        else:
            yield path.read_bytes()
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); copy or download it again") from error


def _members(path: Path) -> Iterator[bytes]:
    """Each pickle in a ZIP, whatever its name: told by its content."""
    with zipfile.ZipFile(path) as archive:
        roots = {name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("data.pkl")}
        for info in archive.infolist():
            # Beside a data.pkl, torch reads these as raw tensors: any bytes may stand there, an opcode's too.
            if any(re.fullmatch(re.escape(root) + r"data/\d+", info.filename) for root in roots):
                continue
            with archive.open(info) as member:
                named = info.filename.endswith(".pkl")
                if not named and not looks_like_pickle(member.read(1 << 12)):
                    continue
            if info.file_size > _MAX_PICKLE_BYTES:
                raise InputError(f"{path}: {info.filename} holds {info.file_size} bytes of pickle; refused")
            yield archive.read(info)


class _Mark:
    """The mark object on the stack."""


_MARK = _Mark()


class _Machine:
    """A pickle machine that moves strings about and calls nothing."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.globals: list[str] = []
        self.strings: set[str] = set()
        self.opcodes = 0
        self.length = 0

    def read(self, data: bytes) -> str:
        """Run every pickle that stands one after the other in `data`; why it ended early, or an empty string.

        The legacy format of PyTorch is five pickles and then raw bytes: what follows a whole pickle may be anything.
        """
        whole = 0
        while self.length < len(data):
            broken = self._one(data[self.length :])
            if broken:
                return "" if whole else broken
            whole += 1
        return "" if whole else "it is empty"

    def _one(self, data: bytes) -> str:
        self.stack, self.memo = [], {}
        try:
            for opcode, argument, position in pickletools.genops(data):
                self._step(opcode, argument)
                self.opcodes += 1
                if opcode.name == "STOP":
                    self.length += (position or 0) + 1
                    return ""
        except _DAMAGE as error:
            return str(error).splitlines()[0] if str(error) else type(error).__name__
        return "it ends without STOP"

    def _step(self, opcode: Any, argument: Any) -> None:
        name = opcode.name
        if isinstance(argument, str) and name in {"GLOBAL", "INST"}:
            if not _IDENTIFIER.fullmatch(argument):
                raise ValueError(f"{argument!r} is no name to import")
            self.globals.append(argument.replace(" ", "."))
        elif name.startswith("EXT"):
            self.globals.append(f"copyreg extension {argument}")
        elif name == "STACK_GLOBAL":
            self._stack_global()
            return
        elif isinstance(argument, str):
            self.strings.add(argument)
        self._move(opcode, argument)

    def _stack_global(self) -> None:
        attribute, module = self._pop(), self._pop()
        known = isinstance(module, str) and isinstance(attribute, str)
        self.globals.append(f"{module}.{attribute}" if known else "a name that is computed")
        self.stack.append(None)

    def _move(self, opcode: Any, argument: Any) -> None:
        name = opcode.name
        if name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            self.memo[int(argument)] = self._top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self.stack.append(self.memo.get(int(argument)))
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "DUP":
            self.stack.append(self._top())
        else:
            self._generic(opcode, argument)

    def _generic(self, opcode: Any, argument: Any) -> None:
        """Take off the stack what the opcode takes and put there what it leaves; a string stays itself."""
        takes = opcode.stack_before
        if pickletools.markobject in takes:
            while self.stack and self.stack.pop() is not _MARK:
                pass
            takes = takes[: takes.index(pickletools.markobject)]
        for _ in takes:
            self._pop()
        self.stack += [argument if isinstance(argument, str) else None for _ in opcode.stack_after]

    def _top(self) -> Any:
        return self.stack[-1] if self.stack else None

    def _pop(self) -> Any:
        return self.stack.pop() if self.stack else None
