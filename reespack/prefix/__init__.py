"""The prefix phase: a locked environment, made in a build folder."""
