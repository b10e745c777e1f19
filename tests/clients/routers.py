#!/usr/bin/env python3
"""The two routers, `task` and `score`, in their fourth form.

Kairos has each router three times: native, in Rhai and as a WASM component.
This is the fourth, written from the text alone: from the seed's design
documents (their sections "Model Router" and "ModelRouter") and from
policies/ROUTING.md, without a look at the other three. The end-to-end tests
feed all of them the same contexts and compare what they answer. Where this
file and another form differ, policies/ROUTING.md says which one is wrong;
do not copy from the others to make them agree.

Standard input: one context a line, JSON in UTF-8. Standard output: one line
of JSON for each, in the same order.

    {"prompt": str,
     "hints": {"task": str|null, "complexity": str|null, "est_tokens": int|null,
               "max_latency_ms": int|null, "accuracy": float,
               "cost_sensitivity": float},
     "budget_used": float,
     "named": int|null,
     "models": [{"strengths": [str, ...], "input_price": int, "latency_ms": int,
                 "successes": int, "failures": int}, ...],
     "names": {"titan": int|null, "claude": int|null, "jurassic": int|null}}

    {"features": {"task": str, "complexity": str},
     "task": {"order": [int, ...], "reason": int},
     "score": {"order": [int, ...], "reason": int}}

`prompt` is the whole text of the only user message; there is no system
prompt. `input_price` is in picodollars per token. What the host would refuse
(a hint that is no label, a list without models) has no answer here: it ends
the program with a ValueError.

All arithmetic is IEEE 754 double precision (a Python float), in the order in
which ROUTING.md writes it; integers are converted before they are calculated
with.
"""

import json
import re
import sys

# --- What the host finds in a request ---------------------------------------

TEXT_BYTES = 8192

CODE_WORDS = {
    2: """python javascript typescript java rust golang kotlin swift cpp sql
          html css regex bash dockerfile kubernetes pytest compiler stacktrace
          traceback segfault refactor debug codebase coding programming""",
    1: """code function functions class method bug compile script algorithm api
          json yaml git unit test tests array loop variable exception
          implement""",
}
REASONING_WORDS = {
    2: """prove proof theorem derive deduce deduction hypothesis counterexample
          syllogism riddle puzzle paradox reasoning dilemma""",
    1: """analyze analyse analysis evaluate compare strategy strategic tradeoff
          tradeoffs implications consequences logic logical argument infer
          justify critique decide decision plan optimize why""",
}


def weights(lists):
    """{weight: "word word"} as {word: weight}."""
    return {word: weight for weight, words in lists.items() for word in words.split()}


CODE = weights(CODE_WORDS)
REASONING = weights(REASONING_WORDS)

FENCE = "```"
FENCE_WEIGHT = 2

# Spelled out: \w is wider than ASCII. What matches is ASCII, and so lower()
# changes A-Z and nothing else.
WORD = re.compile(r"[A-Za-z0-9_]+")
LABEL = re.compile(r"[a-z0-9_-]{1,64}")

HARD_TASKS = {"reasoning", "analysis", "decision", "strategy", "resolution"}
TASKS = HARD_TASKS | {
    "code", "general", "classification", "extraction", "summarization",
    "translation", "generation", "conversation",
}
COMPLEXITIES = {"low", "medium", "high"}


def cut(data, limit):
    """The text of at most `limit` first bytes of valid UTF-8, whole characters."""
    # Only a character that the cut has split can be invalid, at the very end.
    return data[:limit].decode("utf-8", errors="ignore")


def find_task(text):
    """The task that the words of the text speak for."""
    words = {word.lower() for word in WORD.findall(text)}
    code = sum(CODE.get(word, 0) for word in words)
    if FENCE in text:
        code += FENCE_WEIGHT
    reasoning = sum(REASONING.get(word, 0) for word in words)
    if code >= 2 and code >= reasoning:
        return "code"
    if reasoning >= 2:
        return "reasoning"
    return "general"


def hinted_task(label):
    """The task that a hint names: a known one, or `other`."""
    if not LABEL.fullmatch(label):
        raise ValueError(f"hint: {label!r} is not a label")
    return label if label in TASKS else "other"


def find_complexity(task, estimate):
    """The complexity of a task; `estimate` is E, never the hint est_tokens."""
    if task in HARD_TASKS or estimate >= 2000:
        return "high"
    if task != "code" and estimate < 100:
        return "low"
    return "medium"


def find_features(context):
    """(task, complexity, estimated tokens): hints, or else what is found."""
    hints = context["hints"]
    data = context["prompt"].encode("utf-8")
    estimate = (len(data) + 3) // 4  # of the whole text, not of the cut one

    if hints["task"] is not None:
        task = hinted_task(hints["task"])
    else:
        task = find_task(cut(data, TEXT_BYTES))

    complexity = hints["complexity"]
    if complexity is None:
        complexity = find_complexity(task, estimate)
    elif complexity not in COMPLEXITIES:
        raise ValueError(f"hint: {complexity!r} is not a complexity")

    tokens = hints["est_tokens"]
    return task, complexity, estimate if tokens is None else tokens


# --- The router `task` ------------------------------------------------------

TASK_CODE, TASK_REASONING, TASK_GENERAL, TASK_NAMED, TASK_NONE_OF_THREE = 1, 2, 3, 4, 5


def route_by_task(context, task):
    """(order, reason): the kind of task picks the model."""
    names = context["names"]
    titan, claude, jurassic = names["titan"], names["claude"], names["jurassic"]

    if context["named"] is not None:
        first, reason = context["named"], TASK_NAMED
    elif task == "code":
        first, reason = claude, TASK_CODE
    elif task in HARD_TASKS:
        first, reason = jurassic, TASK_REASONING
    else:
        first, reason = titan, TASK_GENERAL

    order = []
    for index in (first, titan, claude, jurassic):
        if index is not None and index not in order:
            order.append(index)
    if not order:
        return list(range(len(context["models"]))), TASK_NONE_OF_THREE
    return order, reason


# --- The router `score` -----------------------------------------------------

SCORE_BEST, SCORE_CHEAPER, SCORE_NAMED = 1, 2, 3

CANDIDATES = 4


def has_strength(model, complexity):
    """Whether the model has the strength that the complexity asks for."""
    if complexity == "high":
        return "reasoning" in model["strengths"]
    if complexity == "low":
        return "speed" in model["strengths"]
    return False


def score_of(model, complexity, max_latency_ms, tokens):
    """The score of one model: strength, history, latency, price."""
    score = 0.0

    if has_strength(model, complexity):
        score += 0.4

    successes, failures = float(model["successes"]), float(model["failures"])
    history = (successes + 1.0) / (successes + failures + 2.0)
    score += history * 0.3

    if max_latency_ms is not None and model["latency_ms"] <= max_latency_ms:
        score += 0.2

    if model["input_price"] == 0:
        score += 0.1
    else:
        price = float(model["input_price"]) / 1e9
        efficiency = 1.0 / (price * (float(tokens) if tokens != 0 else 1.0))
        score += min(efficiency / 1000.0, 0.1)

    return score


def should_use_cheaper_model(context):
    """Whether the switch to a cheaper model holds."""
    sensitivity = context["hints"]["cost_sensitivity"]
    accuracy = context["hints"]["accuracy"]
    return context["budget_used"] >= 0.8 or (sensitivity >= 0.7 and sensitivity > accuracy)


def select_cost_optimized(models, scores, best, complexity):
    """The cheapest model that is close to the best, and as strong."""
    needs_strength = has_strength(models[best], complexity)
    close = [
        index
        for index, model in enumerate(models)
        if scores[index] + 0.2 + 1e-9 >= scores[best]
        and (has_strength(model, complexity) or not needs_strength)
    ]
    return min(close, key=lambda index: (models[index]["input_price"], -scores[index], index))


def route_by_score(context, complexity, tokens):
    """(order, reason): the model with the best score, or a cheaper one."""
    models = context["models"]
    max_latency_ms = context["hints"]["max_latency_ms"]
    scores = [score_of(model, complexity, max_latency_ms, tokens) for model in models]
    # By score, highest first; of equals, the lowest index first.
    ranking = sorted(range(len(models)), key=lambda index: (-scores[index], index))

    if context["named"] is not None:
        first, reason = context["named"], SCORE_NAMED
    elif should_use_cheaper_model(context):
        first = select_cost_optimized(models, scores, ranking[0], complexity)
        reason = SCORE_CHEAPER
    else:
        first, reason = ranking[0], SCORE_BEST

    order = [first] + [index for index in ranking if index != first]
    return order[:CANDIDATES], reason


# --- Lines in, lines out ----------------------------------------------------


def answer(context):
    """What both routers decide on one context."""
    if not context["models"]:
        raise ValueError("no models are offered")
    task, complexity, tokens = find_features(context)
    task_order, task_reason = route_by_task(context, task)
    score_order, score_reason = route_by_score(context, complexity, tokens)
    return {
        "features": {"task": task, "complexity": complexity},
        "task": {"order": task_order, "reason": task_reason},
        "score": {"order": score_order, "reason": score_reason},
    }


def main():
    # Bytes, so that only a line feed ends a line, whatever the locale.
    for line in sys.stdin.buffer:
        print(json.dumps(answer(json.loads(line.decode("utf-8")))), flush=True)


if __name__ == "__main__":
    main()
