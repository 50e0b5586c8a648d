"""One file a command, and how a command is launched."""
