"""Single modules tried alone, in minutes: everything else is frozen, and all variants see the same clips."""
