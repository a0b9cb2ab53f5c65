"""The front explorer: a page that shows what a preference means."""
