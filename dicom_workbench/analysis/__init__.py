"""Population, series kind, chest view, dose, exposure index, workload, anomalies. Not yet: the room is here so that it has its place."""
