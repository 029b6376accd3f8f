"""Property tests run as many examples as always, and take the time they need.

``pytest --hypothesis-profile=fuzz``, which is ``make fuzz``, runs 100,000 of each.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile("fuzz", settings.get_profile("unhurried"), max_examples=100_000)
if settings.get_current_profile_name() != "fuzz":
    settings.load_profile("unhurried")
