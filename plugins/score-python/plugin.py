"""Scores each model by strength, history, latency and price. Defined in `policies/ROUTING.md`, router `score`."""

from kairos_plugin import decline, plan, router
from wit_world.imports.types import Complexity, Strengths

NEEDED = {Complexity.HIGH: Strengths.REASONING, Complexity.LOW: Strengths.SPEED}


def is_strong(features, model):
    needed = NEEDED.get(features.complexity)
    return needed is not None and needed in model.strengths


def score(features, model, strong):
    total = 0.4 if strong else 0.0
    total += (model.successes + 1) / (model.successes + model.failures + 2) * 0.3
    if features.max_latency_ms is not None and model.latency_ms <= features.max_latency_ms:
        total += 0.2
    cost = model.input_price / 1e9 * max(features.estimated_tokens, 1)
    efficiency = 1.0 / cost if cost > 0 else float("inf")
    return total + min(efficiency / 1000.0, 0.1)


def wants_cheaper(features):
    minds_price = features.cost_sensitivity >= 0.7 and features.cost_sensitivity > features.accuracy
    return features.budget_used >= 0.8 or minds_price


class ByScore:
    name = "score"
    version = "0.1.0"
    reasons = ["best-score", "cheaper-model", "named"]

    def __init__(self, config):
        pass

    def route(self, ctx, features, models):
        if not models:
            decline()
        strong = [is_strong(features, model) for model in models]
        scores = [score(features, model, strong[index]) for index, model in enumerate(models)]
        # Sorting is stable: of equal scores the lower index is first.
        ranked = sorted(range(len(models)), key=lambda index: -scores[index])
        first, reason = ranked[0], 1
        if features.named is not None:
            first, reason = features.named, 3
        elif wants_cheaper(features):
            best = ranked[0]
            # Nearly as good as the best, and with its strength.
            near = [one for one in ranked if scores[one] + 0.2 + 1e-9 >= scores[best] and strong[one] >= strong[best]]
            first, reason = min(near, key=lambda index: models[index].input_price), 2
        others = [index for index in ranked if index != first]
        return plan([first] + others[:3], reason)


Lifecycle, Routing = router(ByScore)
