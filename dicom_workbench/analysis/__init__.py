"""What the data say: the profile of a source; later series kind, chest view, dose, exposure index, workload, anomalies."""

from .profile import Profile, Views, profile

__all__ = ["Profile", "Views", "profile"]
