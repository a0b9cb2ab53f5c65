"""Log files found in a folder, and read: typed rows under the names of the contract."""
