"""The training of a network: losses, schedules, validation, what a run shows of itself."""
