"""One place for everything that differs between Spark engines."""
