"""From frames to tubes: what is known of a video while it is read, and what may be loaded to read it."""
