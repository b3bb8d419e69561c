"""Buildpacks."""
