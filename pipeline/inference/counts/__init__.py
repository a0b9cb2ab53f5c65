"""Tables of group counts, as people export them: read, checked and completed."""
