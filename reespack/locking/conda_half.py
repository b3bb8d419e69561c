"""The conda half of a lock: rattler's solver over the channels' repodata."""

from __future__ import annotations

import asyncio
import difflib
import re
from typing import TYPE_CHECKING, cast

from reespack.channels import display_name, without_credentials
from reespack.errors import ChannelError, LockError, UnsatisfiableError
from reespack.locking.virtual_packages import as_rattler
from reespack.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rattler import Gateway, MatchSpec, RepoDataRecord
    from rattler.platform.subdir import SubdirLiteral

    from reespack.channels import ChannelSettings
    from reespack.model import CondaRequirement
    from reespack.products import LockedConda

__all__ = ["CondaSolver", "quoted_requests"]

_CHANNEL = re.compile(r"^(?P<channel>[^\s\[]+?)::(?P<rest>.*)$")


class CondaSolver(Value):
    """Answers which packages meet a request, on one platform.

    `channels` are (name, URL) in order of priority; `assumed` the virtual packages.
    """

    gateway: Gateway
    settings: ChannelSettings
    platform: str
    channels: tuple[tuple[str, str], ...]
    assumed: tuple[tuple[str, str, str], ...]

    async def solve(
        self,
        requests: Sequence[CondaRequirement],
        *,
        more: Iterable[str] = (),
        locked: Sequence[RepoDataRecord] = (),
    ) -> list[RepoDataRecord]:
        """Return the packages for `requests` and the match specs in `more`, by name.

        `locked` are preferred wherever they will do. Channel priority is strict, as conda's and
        mamba's. Raises UnsatisfiableError with the solver's explanation, ChannelError when a
        channel cannot be read.
        """
        from rattler import solve
        from rattler.exceptions import GatewayError, SolverError

        specs = [self._match_spec(request) for request in requests]
        try:
            records = await solve(
                sources=[url for _, url in self.channels],
                platforms=self._subdirs,
                specs=[*specs, *more],
                gateway=self.gateway,
                locked_packages=list(locked),
                virtual_packages=as_rattler(self.assumed),
            )
        except SolverError as error:
            raise await self._unsatisfiable(requests, str(error)) from error
        except (GatewayError, OSError) as error:
            raise await self._unreachable(error) from error
        return sorted(records, key=lambda record: record.name.normalized)

    async def records(self, packages: Iterable[LockedConda]) -> list[RepoDataRecord]:
        """Return the repodata of packages in a lock, but for those that no channel has any more."""
        wanted = {(package.name, package.version, package.build): package for package in packages}
        found = await self._query(sorted({name for name, _, _ in wanted}))
        kept = []
        for record in found:
            key = (record.name.normalized, str(record.version), str(record.build))
            package = wanted.get(key)
            if package is not None and (
                package.url == record.url or (record.sha256 or b"").hex() == package.sha256
            ):
                kept.append(record)
        return kept

    @property
    def _subdirs(self) -> tuple[SubdirLiteral, ...]:
        return (cast("SubdirLiteral", self.platform), "noarch")

    async def _query(self, names: list[str]) -> list[RepoDataRecord]:
        from rattler.exceptions import GatewayError

        try:
            found = await self.gateway.query(
                [url for _, url in self.channels],
                self._subdirs,
                names,
                recursive=False,
            )
        except (GatewayError, OSError) as error:
            raise await self._unreachable(error) from error
        return [record for several in found for record in several]

    def _match_spec(self, request: CondaRequirement) -> MatchSpec:
        """Parse a request; a channel in it (`conda-forge::numpy`) becomes the URL it stands for."""
        from rattler import MatchSpec
        from rattler.exceptions import InvalidMatchSpecError

        from reespack.channels import channel_url

        text = request.spec
        if match := _CHANNEL.match(text):
            text = f"{channel_url(match['channel'], self.settings)}::{match['rest']}"
        try:
            return MatchSpec(text)
        except InvalidMatchSpecError as error:
            raise LockError(
                f"{request.origin}: {request.spec!r} is not a match spec: {error}"
            ) from error

    # --- what to say when it cannot be done ----------------------------------------------------

    async def _unsatisfiable(
        self, requests: Sequence[CondaRequirement], explanation: str
    ) -> UnsatisfiableError:
        names = await self._names()
        asked = ", ".join(name for name, _ in self.channels)
        detail = "\n\n".join(
            part
            for part in (
                explanation.strip(),
                "channels asked, in order:\n" + "\n".join(self._channel_lines()),
                quoted_requests(((r.origin, r.spec, r.name) for r in requests), explanation),
            )
            if part
        )
        missing = [
            request
            for request in requests
            if request.name not in names and not request.name.startswith("__")
        ]
        if not missing:
            return UnsatisfiableError(
                f"no set of packages for {self.platform} meets the request",
                hint="relax one of the requests below, or add the channel that has the package",
                detail=detail,
            )
        first = missing[0]
        more = f" (nor {', '.join(r.name for r in missing[1:])})" if missing[1:] else ""
        return UnsatisfiableError(
            f"{first.origin}: no package named {first.name!r}{more} in {asked} for {self.platform}",
            hint=_near_misses([request.name for request in missing], names),
            detail=detail,
        )

    async def _names(self) -> set[str]:
        from rattler.exceptions import GatewayError

        try:
            found = await self.gateway.names(
                [url for _, url in self.channels],
                self._subdirs,
            )
        except (GatewayError, OSError) as error:
            raise await self._unreachable(error) from error
        return {name.normalized for name in found}

    async def _unreachable(self, error: Exception) -> ChannelError:
        """Find out which channel it is that cannot be read."""
        from rattler.exceptions import GatewayError

        async def failure(url: str, subdir: SubdirLiteral) -> Exception | None:
            try:
                await self.gateway.names([url], [subdir])
            except (GatewayError, OSError) as problem:
                return problem
            return None

        # All are waited for: a request still under way when Python ends would bring it down.
        asked = [(name, url, sub) for name, url in self.channels for sub in self._subdirs]
        failures = await asyncio.gather(*(failure(url, sub) for _, url, sub in asked))
        name, url, why = next(
            ((name, url, why) for (name, url, _), why in zip(asked, failures, strict=True) if why),
            ("", "", error) if not self.channels else (*self.channels[0], error),
        )
        plain = without_credentials(url)
        where = "" if plain == name else f" ({plain})"
        hint = (
            "offline, only channels on this machine and repodata fetched before can be read"
            if self.settings.offline
            else "check the name and the network"
        )
        return ChannelError(
            f"channel {without_credentials(name)}{where} cannot be read",
            hint=f"{hint}; a site's own copy is named with "
            f"--channel-alias {without_credentials(name)}=URL-OR-FOLDER",
            detail=_innermost(why),
        )

    def _channel_lines(self) -> list[str]:
        width = max((len(name) for name, _ in self.channels), default=0)
        return [
            f"  {without_credentials(name):{width}}  {without_credentials(url)}"
            for name, url in self.channels
        ]

    def channel_of(self, record: RepoDataRecord) -> str:
        """Return the name of the channel that a record comes from, for messages."""
        return display_name(record.channel, self.settings) if record.channel else ""


def _innermost(error: Exception) -> str:
    return without_credentials(str(error)) or type(error).__name__


def _near_misses(missing: Sequence[str], names: Iterable[str]) -> str:
    known = sorted(names)
    guesses = {name: difflib.get_close_matches(name, known, n=3, cutoff=0.75) for name in missing}
    found = {name: near for name, near in guesses.items() if near}
    if not found:
        return "check the spelling, or add the channel that has it"
    if len(missing) == 1:
        return f"did you mean {' or '.join(found[missing[0]])}?"
    return "; ".join(f"{name}: did you mean {' or '.join(near)}?" for name, near in found.items())


def quoted_requests(requests: Iterable[tuple[object, str, str]], explanation: str) -> str:
    """Return the requests (origin, text, name) that an explanation names, with file and line."""
    # A solver writes names as it normalises them: dots and underscores may have become dashes.
    said = re.sub(r"[._]+", "-", explanation.lower())
    lines = []
    for origin, text, name in requests:
        plain = re.sub(r"[._]+", "-", name.lower())
        if re.search(rf"(?<![\w-]){re.escape(plain)}(?![\w-])", said):
            lines.append(f"  {origin}: {text}")
    return "requests named in it:\n" + "\n".join(lines) if lines else ""
