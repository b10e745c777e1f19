"""Whoever is in a hurry gets the fastest model; other requests are left to the gateway's own router."""

from kairos_plugin import decline, plan, router


class MyPlugin:
    name = "my-plugin"
    version = "0.1.0"
    reasons = ["in-a-hurry"]

    def __init__(self, config):
        """`config` is what the operator configured, read from its JSON."""

    def route(self, ctx, features, models):
        if features.max_latency_ms is None:
            decline()
        fastest = min(range(len(models)), key=lambda index: models[index].latency_ms)
        return plan([fastest], 1)


Lifecycle, Routing = router(MyPlugin)
