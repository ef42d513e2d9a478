"""Hosts that serve: one agent runs on all of them, reached locally, over SSH or by AWS SSM."""

from greenlight.adapters.hosts.factory import open_host

__all__ = ["open_host"]
