"""Whose folders are trusted: an environment runs as whoever starts it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from reespack.errors import ConfigError, StoreError, UntrustedStoreError

__all__ = ["make_private", "owners_can_be_told", "require_trusted", "user_ids"]

_HINT = "set REESPACK_STORE to a folder of your own"


def user_ids(accounts: tuple[str, ...]) -> frozenset[int]:
    """Return the numbers of accounts, root's and this process's; raise ConfigError for others."""
    return frozenset({0, os.geteuid(), *map(_number_of, accounts)})


def owners_can_be_told() -> bool:
    """Say whether root's files are root's to this process.

    In a user namespace with one account (the one around a mounted environment is such), everybody
    else's files are nobody's, and no owner can be trusted.
    """
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    return any(line.split()[:1] == ["0"] for line in lines)


def _number_of(account: str) -> int:
    try:
        return int(account) if account.isdecimal() else pwd.getpwnam(account).pw_uid
    except KeyError:
        raise ConfigError(f"store_owners: there is no account {account!r} here") from None


def make_private(folder: Path, *, above: Path | None = None) -> Path:
    """Make a folder that is this user's alone (mode 0700), and return its real path.

    `above` is a folder that others may write to: it must be sticky then, and everything between is
    held to the same rule as `folder`. Raises UntrustedStoreError for what somebody else has put
    there, StoreError when it cannot be made.
    """
    top = above or folder.parent
    try:
        top.mkdir(parents=True, exist_ok=True)
        _require_no_entry_for_others(top)
        place = Path(os.path.realpath(top))
        for name in folder.relative_to(top).parts:
            place /= name
            _make_one(place)
    except OSError as error:
        raise StoreError(
            f"the store {folder} cannot be made: {error.strerror}",
            hint="set REESPACK_STORE to a folder that you can write to",
        ) from error
    return place


def _make_one(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError:
        if not folder.is_dir():  # a read-only file system says so before it looks
            raise
    handle = _opened(folder)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            owner = _name_of(status.st_uid)
            raise UntrustedStoreError(f"{folder} belongs to {owner}, not to you", hint=_HINT)
        if stat.S_IMODE(status.st_mode) & 0o077:
            # What others may have put there before cannot be told from one's own.
            if status.st_mode & 0o022:
                raise UntrustedStoreError(f"others may write to {folder}", hint=_HINT)
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)


def require_trusted(folder: Path, *, owners: frozenset[int], what: str) -> None:
    """Raise UntrustedStoreError unless a folder is one of `owners`' and only theirs to write."""
    try:
        handle = _opened(folder)
    except OSError as error:
        raise StoreError(f"{what} {folder} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(handle)
    finally:
        os.close(handle)
    if status.st_uid not in owners:
        raise UntrustedStoreError(
            f"{what} {folder} belongs to {_name_of(status.st_uid)}, who is not trusted",
            hint="name trusted accounts in the setting store_owners",
        )
    if status.st_mode & 0o022:
        raise UntrustedStoreError(f"others may write to {what} {folder}", hint="chmod go-w")


def _opened(folder: Path) -> int:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError as error:
        raise UntrustedStoreError(f"{folder} is closed to you", hint=_HINT) from error
    except NotADirectoryError as error:
        raise UntrustedStoreError(f"{folder} is a link or no folder", hint=_HINT) from error


def _require_no_entry_for_others(top: Path) -> None:
    """Refuse a folder in which anybody may replace what lies there."""
    mode = top.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UntrustedStoreError(
            f"anybody may write to {top}, and remove what others put there", hint=_HINT
        )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
