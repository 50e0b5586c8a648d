"""Tries single modules alone, in minutes: ``python scripts/probe.py NAME variants=[...]``; ``NAME --help`` has more."""

if __name__ == "__main__":  # a process that draws data imports this file too, and needs nothing of it
    from compfeat.commands.probe import probe

    probe()
