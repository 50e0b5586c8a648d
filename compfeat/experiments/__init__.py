"""Runs: what is kept of them, how they compare, what is handed over; probes and an oracle, for before there are any."""
