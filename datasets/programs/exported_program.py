"""Safe loading of untrusted `torch.export` and TorchScript programs: no pickle, only arithmetic.

`datasets.features.encoder` runs such programs. PyTorch's own loaders trust the file:
`torch.export.load` unpickles weights and example inputs, evaluates shape expressions as Python and
looks operators up by name in all of `torch` (`torch.serialization.os.system` among them);
`torch.jit.load` unpickles no Python objects, but a program may write and map files. So a file is
read member by member, validated, and passed to PyTorch as a new archive of the validated members.
"""

import io
import json
import logging
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

EXPORTED_SUFFIX, SCRIPTED_SUFFIX = ".pt2", ".pt"
"""File extensions of programs: of `torch.export.save`, and of `torch.jit.save`."""


Program = Callable[[Any], Any]
"""A callable that takes a tensor."""


class ProgramError(Exception):
    """The file is no program, or uses more than arithmetic operators; the text is one line."""


def check_program(path: Path) -> None:
    """Checks that the file is an archive of a program, without importing PyTorch.

    Raises:
        ProgramError: it is not.
    """
    with _opened(path) as members:
        exported = path.suffix == EXPORTED_SUFFIX
        wanted = _MODEL_JSON if exported else "data.pkl"
        if wanted not in members or not (exported or any(map(_is_code, members))):
            made_by = "torch.export.save" if exported else "torch.jit.save"
            raise ProgramError(f"has no '{wanted}' or no code in it, so {made_by} did not make it")


def load_program(path: Path, device: str) -> Program:
    """Loads the program on `device`.

    Raises:
        ProgramError: the file is no program, is damaged, or uses operators that are not allowed.
    """
    import torch

    check_program(path)
    safe = _exported(path) if path.suffix == EXPORTED_SUFFIX else _scripted(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weights are in read-only memory
            if path.suffix == SCRIPTED_SUFFIX:
                load: Any = torch.jit.load  # untyped
                return cast(Program, load(safe, map_location=device).eval())
            with _quiet("torch.export"):
                loaded = torch.export.load(safe)
            if device != "cpu":
                from torch.export.passes import move_to_device_pass

                loaded = move_to_device_pass(loaded, device)
            return cast(Program, loaded.module())
    except Exception as error:  # for a damaged archive PyTorch raises all kinds of exceptions
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ProgramError(f"cannot be loaded by this PyTorch ({first:.200})") from error


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Disables PyTorch's log of the traceback that it then raises."""
    log = logging.getLogger(logger)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


_MODEL_JSON = "models/model.json"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+"
)
_TARGET = re.compile(
    r"torch\.ops\.aten\.(?!save\b|from_file\b)\w+\.\w+|_operator\.\w+"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast)"
)
_OPERATORS = {"getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow"}
_OPERATORS |= {"eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_"}
_EXPRESSION = re.compile(
    r"(\s|[(),=+\-*/]|\d+(\.\d+)?\b|'[su]\d+'|\b[su]\d+\b|\b(Symbol|Integer|Rational|Mul|Add|Pow|Mod"
    r"|PythonMod|FloorDiv|CleanDiv|CeilDiv|Max|Min|positive|nonnegative|integer|real|True|False)\b)*"
)


def _exported(path: Path) -> io.BytesIO:
    with _opened(path) as members:
        kept = {name: read() for name, read in members.items() if _PLAIN.fullmatch(name)}
        for name in _CONFIGS:
            kept[name] = members[name]() if name in members else b'{"config": {}}'
            _refuse_pickled(_json(kept[name]))
        try:
            kept[_MODEL_JSON] = json.dumps(_validated(_json(members[_MODEL_JSON]()))).encode()
        except RecursionError:
            raise ProgramError("is damaged (its graph is nested too deep)") from None
        kept["data/sample_inputs/model.pt"] = b""  # a pickle that is not needed
    return _archive(kept)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProgramError(f"is damaged ({error})") from None


def _refuse_pickled(config: Any) -> None:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise ProgramError("is damaged (its list of weights is invalid)")
    for name, entry in entries.items():
        at = str(entry.get("path_name")) if isinstance(entry, dict) else ""
        if not re.fullmatch(r"(weight|tensor)_\d+", at) or entry.get("use_pickle") is not False:
            raise ProgramError(f"has '{name:.80}' as a pickle, which could run any code")


def _validated(value: Any) -> Any:
    """The program's graph without parts that PyTorch would evaluate; raises if it is not safe."""
    if isinstance(value, list):
        return [_validated(part) for part in value]
    if not isinstance(value, dict):
        return value
    validated = {}
    for key, part in value.items():
        if key == "metadata":  # source locations
            part = {}
        elif key == "guards_code":  # Python that checks the inputs
            part = []
        elif key == "target" and not _is_arithmetic(part):
            raise ProgramError(f"calls '{part!s:.80}', which is not allowed")
        elif key in ("as_operator", "as_custom_obj", "custom_obj"):
            raise ProgramError(f"has an object ('{key}') that could run any code")
        elif key == "expr_str" and not _EXPRESSION.fullmatch(str(part)):
            raise ProgramError(f"has a length '{part!s:.80}', which is no formula")
        elif key in ("in_spec", "out_spec"):
            _refuse_structure(_json(str(part).encode()))
        validated[key] = _validated(part)
    return validated


def _is_arithmetic(target: Any) -> bool:
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        return False
    return not target.startswith("_operator.") or target.split(".")[1] in _OPERATORS


def _refuse_structure(spec: Any) -> None:
    """Checks the types in a tree of arguments, which PyTorch would import."""
    if isinstance(spec, list):
        for part in spec:
            _refuse_structure(part)
    elif isinstance(spec, dict):
        kind, context = spec.get("type"), spec.get("context")
        known = (None, "builtins.tuple", "builtins.list", "builtins.dict")
        if kind not in known or context not in (None, "null", "[]"):
            raise ProgramError(
                f"takes or returns a {kind!s:.80}; export it to take a tensor and return a tensor"
            )
        _refuse_structure(spec.get("children_spec"))


_OF_FILES = re.compile(r"\b(from_file|save)\b|\bops\.(?!aten\.|prim\.)\w+|\btorch\.classes\b")


def _is_code(name: str) -> bool:
    return name.startswith("code/") and name.endswith(".py")


def _scripted(path: Path) -> io.BytesIO:
    with _opened(path) as members:
        kept = {name: read() for name, read in members.items() if not name.endswith(".debug_pkl")}
    for name, content in kept.items():
        # a pickle can create C++ classes by name, so pickles are searched as well
        found = _OF_FILES.search(content.decode("latin-1")) if _is_code(name) else None
        if found or (name.endswith(".pkl") and b"torch.classes" in content):
            what = found.group() if found else "torch.classes"
            raise ProgramError(f"calls '{what}', which is not allowed")
    return _archive(kept)


_MAX_CODE_BYTES = 2**26
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, Callable[[], bytes]]]:
    """The members of an archive by name, without its top folder, as functions that read them."""
    try:
        archive = zipfile.ZipFile(path)
    except (*_DAMAGE, OSError) as error:
        raise ProgramError(f"is no archive, so it is no exported program ({error})") from None
    with archive:
        members: dict[str, Callable[[], bytes]] = {}
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            stored = info.compress_type == zipfile.ZIP_STORED  # only code is compressed
            if name in members or not (stored or info.file_size <= _MAX_CODE_BYTES):
                raise ProgramError(f"has a member '{name:.80}' that PyTorch does not write so")
            members[name] = partial(_read, archive, info)
        yield members


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except (*_DAMAGE, OSError) as error:
        raise ProgramError(f"is damaged ({error})") from None


def _archive(members: Mapping[str, bytes]) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"program/{name}", content)
    target.seek(0)
    return target
