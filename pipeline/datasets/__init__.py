"""Raw logs of any format to canonical events."""
