"""A file of variables that docker compose, systemd, `docker --env-file` and shells all read alike.

So a value has no quotes, blanks, comments, `$` or backslashes: each of these readers treats them in its own way. The
file holds secrets; nobody but its owner reads it (0600), and nobody sees it half written.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from champion_gate.errors import ConfigurationError, ConflictError

_LARGEST = 256 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ALIKE = re.compile(r"[A-Za-z0-9_./:@%+=,-]*")
_OWNERS_ALONE = 0o600


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file; what stands behind `=` is taken as it is.

    Raises:
        ConfigurationError: it cannot be read, or has lines that are neither variables nor comments.
    """
    return _variables(path, _text(path))


def create_env_file(path: Path, text: str) -> None:
    """Write a new file of variables; raises what `create_file` does."""
    _check(path, _variables(path, text))
    create_file(path, text, _OWNERS_ALONE)


def create_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a new file, whatever the umask.

    Raises:
        ConflictError: there is one already.
        ConfigurationError: it cannot be written.
    """
    try:
        _write(path, text, mode)
    except FileExistsError:
        raise ConflictError(
            f"{path} is there already, and is left as it is.", hint="Move it away, or name another file."
        ) from None
    except OSError as error:
        raise _unwritable(path, error) from error


def set_variables(path: Path, values: Mapping[str, str]) -> None:
    """Give variables of a file these values, each in its own line or at the end; all else stays. At once, or not at all.

    Raises:
        ConfigurationError: the file cannot be read or written, or a value would be read differently by different readers.
    """
    _check(path, values)
    lines, left = [], dict(values)
    for line in _text(path).splitlines():
        name = line.partition("=")[0].strip()
        if name in values and name not in left:
            continue  # a second line of the same name, of which readers take the last
        lines.append(f"{name}={left.pop(name)}" if name in left else line)
    lines += [f"{name}={value}" for name, value in left.items()]
    _replace(path.resolve(), "".join(f"{line}\n" for line in lines))


def rotate_variable(path: Path, name: str, new: str) -> None:
    """Give a secret a new value, and its twin the one before, so that the service takes both; raises as above."""
    before = read_env_file(path).get(name)
    if before != new:
        set_variables(path, {name: new, **({f"{name}_PREVIOUS": before} if before else {})})


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        hint = "`champion-gate init` writes one" if isinstance(error, FileNotFoundError) else "is it yours?"
        raise ConfigurationError([f"{path}: cannot be read ({error.strerror}); {hint}"]) from error
    if len(data) > _LARGEST:
        raise ConfigurationError([f"{path}: is larger than {_LARGEST // 1024} KiB"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: is no UTF-8 text (byte {error.start})"]) from error


def _variables(path: Path, text: str) -> dict[str, str]:
    found, problems = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not _NAME.fullmatch(name):
            problems.append(f"{path}: line {number} (not shown) is no NAME=value")
        found[name] = value
    if problems:
        raise ConfigurationError(problems)
    return found


def _check(path: Path, values: Mapping[str, str]) -> None:
    wrong = [
        name for name, value in values.items() if not _NAME.fullmatch(name) or not _ALIKE.fullmatch(value)
    ]
    if wrong:
        raise ConfigurationError([f"{name}: its value (not shown) cannot stand in {path}" for name in wrong])


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        owner = path.stat()
        _write(beside, text, _OWNERS_ALONE)
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            with contextlib.suppress(PermissionError):
                os.chown(beside, owner.st_uid, owner.st_gid)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _write(path: Path, text: str, mode: int) -> None:
    """Make a file; FileExistsError where there is one, or a link of this name."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNERS_ALONE)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, mode)
            file.write(text)
            file.flush()
            os.fsync(handle)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError([f"{path}: cannot be written ({error.strerror})"])
