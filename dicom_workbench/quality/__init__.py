"""Rules as polars expressions, findings, scores, duplicates. Not yet: the room is here so that it has its place."""
