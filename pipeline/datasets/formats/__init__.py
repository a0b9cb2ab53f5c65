"""One small file a dataset format; each turns pieces of raw files into rows for all formats alike."""
