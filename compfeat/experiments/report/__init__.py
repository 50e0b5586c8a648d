"""The report on the runs of a folder: what it holds, as Markdown and as a page."""
