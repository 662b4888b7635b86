"""The mechanism of all operations; it knows nothing of any phenomenon."""
