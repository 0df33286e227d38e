"""Small pure helpers: no I/O, no clock, no log."""
