"""What is kept of runs, what compares them and says what a network has learned: tables, reports, probes, oracle, card."""
