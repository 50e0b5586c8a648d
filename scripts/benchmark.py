"""Measures a part of the project: ``python scripts/benchmark.py data``; each benchmark answers ``--help``."""

import sys

from compfeat.benchmarks.data import data
from compfeat.run import launch

BENCHMARKS = {"data": data}
USAGE = f"usage: python scripts/benchmark.py {{{','.join(BENCHMARKS)}}} [key=value ...]"

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("-h", "--help"):
        print(USAGE)
        sys.exit(0)
    if name not in BENCHMARKS:
        print(f"error: there is no benchmark {name!r}; {USAGE}", file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    launch(BENCHMARKS[name], f"benchmark/{name}")
