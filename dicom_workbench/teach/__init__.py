"""The synthetic hospital with planted defects, exercises and their checker. Not yet: the room is here so that it has its place."""
