"""What was found in a video, as people take it: line by line, as a table, as masks, drawn on its frames, as a page."""
