"""The follower of the endpoint's log, and the sums that it keeps."""
