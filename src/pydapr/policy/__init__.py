"""Rules that stand around an operation: how often it is tried again, how long it may take, when it is spared."""
