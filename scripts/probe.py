"""Tries single modules alone, in minutes: ``python scripts/probe.py NAME variants=[...]``; ``NAME --help`` has more."""

from compfeat.commands.probe import probe

if __name__ == "__main__":
    probe()
