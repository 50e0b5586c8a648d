"""Annotation files: a json file becomes arrays mapped into memory, read as videos and tracks."""
