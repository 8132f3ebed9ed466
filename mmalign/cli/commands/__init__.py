"""The commands, one file each: ``run(words)`` does it and returns the exit status."""
