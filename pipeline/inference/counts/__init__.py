"""Tables of group counts, as other programs export them: read, checked and completed."""
