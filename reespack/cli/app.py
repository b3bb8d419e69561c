"""The commands, put together: all of them, or the one that was typed.

What typer makes of a command, options and all, takes time, and so does importing it; who builds
does not wait for what other commands are made of.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from reespack.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["make_app"]


class _Command(NamedTuple):
    """A command's name, the function for it in a module of this package, and its line of help.

    The help is short enough for one line at 80 columns.
    """

    name: str
    module: str
    function: str
    help: str | None = None

    def load(self) -> Callable[..., None]:
        module = importlib.import_module(f"reespack.cli.{self.module}")
        function: Callable[..., None] = getattr(module, self.function)
        return function


_COMMANDS = (
    _Command(
        "detect", "detect_options", "detect", "Say what each file means, and what comes of it."
    ),
    _Command("lock", "lock", "lock", "Pin every package, in a conda-lock file."),
    _Command(
        "build", "build_options", "build", "Build the environment and pack it into one archive."
    ),
    _Command("unpack", "unpack_options", "unpack", "Unpack an archive into a folder."),
    _Command("inspect", "inspection", "inspect", "Show what an archive holds."),
    _Command("verify", "verify", "verify", "Check an archive against its manifest."),
    _Command("diff", "diff", "diff", "Show what two archives differ in."),
    _Command("exec", "execute_help", "explain", "Run a command in an archive's environment."),
    _Command("install", "install", "install", "Unpack an archive once, and install its kernel."),
    _Command("stage", "install", "stage", "Unpack an archive ahead of time."),
    _Command("list", "installed", "list_installed", "Show what is installed."),
    _Command("uninstall", "installed", "uninstall", "Remove a kernel and its environment."),
    _Command("gc", "installed", "collect", "Remove environments that are not in use."),
)
_GROUPS = {
    "cache": (
        "See and limit what the cache takes.",
        (
            _Command("info", "cache", "info", "Show what is in the cache."),
            _Command("prune", "cache", "prune", "Remove what was not used for long."),
            _Command("clean", "cache", "clean", "Remove all that is not in use."),
        ),
    ),
    "catalog": (
        "Look after a Hub's catalog of environments.",
        tuple(_Command(name, "catalog", name) for name in ("check", "add", "remove")),
    ),
    "channel": ("Make local conda channels.", (_Command("create", "channel", "create"),)),
    "config": ("Look at the settings.", (_Command("show", "config", "show"),)),
}


def make_app(words: Sequence[str] = ()) -> typer.Typer:
    """Return the program as `words` will use it: one command when they begin with it, else all."""
    first = words[0] if words else None
    only = first if first in _GROUPS or any(one.name == first for one in _COMMANDS) else None
    app = typer.Typer(
        name="reespack",
        help="From a repository that follows REES to an environment whose kernel runs elsewhere.",
        epilog="Settings: `reespack config show`. Every command explains itself with --help.",
        rich_markup_mode=None,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_top)
    _add(app, [one for one in _COMMANDS if only in {None, one.name}])
    for name, (help_, commands) in _GROUPS.items():
        if only in {None, name}:
            group = typer.Typer(help=help_, rich_markup_mode=None, no_args_is_help=True)
            _add(group, commands)
            app.add_typer(group, name=name)
    return app


def _add(app: typer.Typer, commands: Sequence[_Command]) -> None:
    for one in commands:
        app.command(one.name, short_help=one.help)(one.load())


def _print_version(value: bool) -> None:
    if value:
        from reespack.cli.console import write_out

        write_out([f"reespack {VERSION}"])
        raise typer.Exit


def _top(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Let `--version` stand before any command."""
