"""What every room shares: errors, contracts of tables, names and labels, the asset graph."""
