"""Wheelhouse channels: local conda channels made of this machine's CPythons and wheels."""

from __future__ import annotations

from reespack.channel.create import ChannelReport, create_channel

__all__ = ["ChannelReport", "create_channel"]
