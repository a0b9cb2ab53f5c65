"""Comparisons of groups: the pair test, the shrunken change, and the group to ship."""
