"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from reespack.cli.build import build
from reespack.cli.cache import clean, info, prune
from reespack.cli.catalog import add, check, remove
from reespack.cli.channel import create
from reespack.cli.config import show
from reespack.cli.detect import detect
from reespack.cli.diff import diff
from reespack.cli.execute_help import explain
from reespack.cli.inspection import inspect
from reespack.cli.install import install, stage
from reespack.cli.installed import collect, list_installed, uninstall
from reespack.cli.lock import lock
from reespack.cli.unpack import unpack
from reespack.cli.verify import verify
from reespack.version import VERSION

__all__ = ["app"]


def _print_version(value: bool) -> None:
    if value:
        from reespack.cli.console import write_out

        write_out([f"reespack {VERSION}"])
        raise typer.Exit


app = typer.Typer(
    name="reespack",
    help="From a repository that follows REES to an environment whose kernel runs elsewhere.",
    epilog="Settings: `reespack config show`. Every command explains itself with --help.",
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
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


cache_app = typer.Typer(
    help="See and limit what the cache takes.", rich_markup_mode=None, no_args_is_help=True
)
cache_app.command("info", short_help="Show what is in the cache.")(info)
cache_app.command("prune", short_help="Remove what was not used for long.")(prune)
cache_app.command("clean", short_help="Remove all that is not in use.")(clean)
catalog_app = typer.Typer(
    help="Look after a Hub's catalog of environments.", rich_markup_mode=None, no_args_is_help=True
)
catalog_app.command("check")(check)
catalog_app.command("add")(add)
catalog_app.command("remove")(remove)
channel_app = typer.Typer(
    help="Make local conda channels.", rich_markup_mode=None, no_args_is_help=True
)
channel_app.command("create")(create)
config_app = typer.Typer(help="Look at the settings.", rich_markup_mode=None, no_args_is_help=True)
config_app.command("show")(show)

# Short enough for one line each at 80 columns.
for _command, _help in (
    (detect, "Say what each file means, and what comes of it."),
    (lock, "Pin every package, in a conda-lock file."),
    (build, "Build the environment and pack it into one archive."),
    (unpack, "Unpack an archive into a folder."),
    (inspect, "Show what an archive holds."),
    (verify, "Check an archive against its manifest."),
    (diff, "Show what two archives differ in."),
):
    app.command(short_help=_help)(_command)
app.command("exec", short_help="Run a command in an archive's environment.")(explain)
app.command(short_help="Unpack an archive once, and install its kernel.")(install)
app.command(short_help="Unpack an archive ahead of time.")(stage)
app.command("list", short_help="Show what is installed.")(list_installed)
app.command(short_help="Remove a kernel and its environment.")(uninstall)
app.command("gc", short_help="Remove environments that are not in use.")(collect)
app.add_typer(cache_app, name="cache")
app.add_typer(catalog_app, name="catalog")
app.add_typer(channel_app, name="channel")
app.add_typer(config_app, name="config")
