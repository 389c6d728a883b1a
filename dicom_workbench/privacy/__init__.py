"""De-identified files and tables, and the proof that they are. Not yet: the room is here so that it has its place."""
