"""What a policy for Kairos in Python is made of.

A policy is a class: `name`, `version`, `reasons` (the n-th, from 1, is the name of code n),
`model_names` (bit i of a model's `names` is that of the i-th, from 0), `__init__(self, config)` and
`route(self, ctx, features, models)`. `Lifecycle, Routing = router(MyPlugin)` exports it. What `ctx`,
`features` and `models` have is in `wit/v0.1/types.wit`, with `_` for `-`.

An exception is a fault of the policy: the gateway logs its text and place, and decides itself.
"""

import json

from componentize_py_types import Err
from wit_world.exports.lifecycle import Description
from wit_world.exports.routing import CacheDirective_Default, Candidate, Plan
from wit_world.imports.types import PluginError_Declined, PluginError_Internal, PluginError_Refused


def plan(models, reason):
    """Tries these models (indices of those on offer) in this order, for the reason of this code."""
    candidates = [Candidate(model, 1.0 if place == 0 else 0.0) for place, model in enumerate(models)]
    return Plan(candidates, None, None, CacheDirective_Default(), reason, [])


def decline():
    """Leaves the decision to the gateway's own router."""
    raise Err(PluginError_Declined())


def refuse(reason):
    """Refuses the request, for the reason of this code."""
    raise Err(PluginError_Refused(reason))


def _told(call, *arguments):
    """Calls, and tells text and place of what is raised."""
    try:
        return call(*arguments)
    except Err:
        raise
    except Exception as error:
        step = error.__traceback__
        while step.tb_next is not None:
            step = step.tb_next
        file, line = step.tb_frame.f_code.co_filename.rsplit("/", 1)[-1], step.tb_lineno
        text = f"{type(error).__name__}: {error} ({file}:{line})"
    raise Err(PluginError_Internal(text))


def router(policy):
    """The two classes that a component of the world `router` exports."""
    made = []

    class Lifecycle:
        def describe(self):
            reasons = list(enumerate(getattr(policy, "reasons", []), 1))
            names = list(getattr(policy, "model_names", []))
            schema = getattr(policy, "kv_schema", 0)
            notes = [("kv", policy.kv)] if hasattr(policy, "kv") else []
            return Description(policy.name, policy.version, reasons, names, schema, notes)

        def init(self, config):
            made[:] = [_told(lambda: policy(json.loads(config)))]

    class Routing:
        def route(self, ctx, features, models):
            return _told(made[0].route, ctx, features, models)

    return Lifecycle, Routing
