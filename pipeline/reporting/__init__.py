"""Reports, comparisons and the data card."""
