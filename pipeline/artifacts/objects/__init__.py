"""S3-compatible storage: copies of data that is there, and a study's artifacts, published for other machines."""
