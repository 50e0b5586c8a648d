"""Measures speed and memory: ``python scripts/benchmark.py NAME key=value``; ``NAME --help`` lists its keys."""

if __name__ == "__main__":  # a process that draws data imports this file too, and needs nothing of it
    from compfeat.commands.benchmark import benchmark

    benchmark()
