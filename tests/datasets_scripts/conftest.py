"""Property tests run as many examples as always, and take the time they need."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("unhurried")
