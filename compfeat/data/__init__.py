"""From annotated frames on disk to batches of clips."""
