"""What the parts of the project cost, measured; ``scripts/benchmark.py`` runs them."""
