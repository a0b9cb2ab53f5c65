"""What the pages of the endpoint share: their files, headers and style."""
