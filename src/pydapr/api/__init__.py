"""The faces: they decode, call one block and encode."""
