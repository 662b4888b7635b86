"""The mechanism of all operations, independent of any phenomenon."""
