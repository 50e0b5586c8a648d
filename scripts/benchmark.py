"""Measures speed and memory: ``python scripts/benchmark.py NAME key=value``; ``NAME --help`` lists its keys."""

from compfeat.commands.benchmark import benchmark

if __name__ == "__main__":
    benchmark()
