// What a policy for Kairos in JavaScript is made of.
//
// A policy is an object: `name`, `version`, `reasons` (the n-th, from 1, is the name of code n),
// `modelNames` (bit i of a model's `names` is that of the i-th, from 0), `init(config)` and
// `route(ctx, features, models)`. `export const { lifecycle, routing } = router({ … })` exports it.
// What `ctx`, `features` and `models` have is in `wit/v0.1/types.wit`, in camelCase; an option is
// `undefined`, an enum its name, flags an object of booleans, an integer of 64 bits a BigInt.
//
// An exception is a fault of the policy: the gateway logs its text and place, and decides itself.

/** Tries these models (indices of those on offer) in this order, for the reason of this code. */
export function plan(models, reason) {
  const candidates = models.map((model, place) => ({ model, probability: place === 0 ? 1 : 0 }));
  return { candidates, maxOutputTokens: undefined, maxCost: undefined, cache: { tag: "default" }, reason, settings: [] };
}

/** An answer that is no plan, as the contract names it. */
class Answer {
  constructor(tag, val) {
    this.tag = tag;
    this.val = val;
  }
}

/** Leaves the decision to the gateway's own router. */
export function decline() {
  throw new Answer("declined");
}

/** Refuses the request, for the reason of this code. */
export function refuse(reason) {
  throw new Answer("refused", reason);
}

/** Calls, and tells text and place of what is thrown. */
function told(call) {
  try {
    return call();
  } catch (error) {
    if (error instanceof Answer) throw error;
    const place = /\(?([^\s()]+:\d+:\d+)\)?/.exec(error?.stack ?? "");
    throw new Answer("internal", `${error}${place ? ` (${place[1]})` : ""}`);
  }
}

/** The two interfaces that a component of the world `router` exports. */
export function router(policy) {
  const lifecycle = {
    describe: () => ({
      name: policy.name,
      version: policy.version,
      reasons: (policy.reasons ?? []).map((name, place) => [place + 1, name]),
      names: policy.modelNames ?? [],
      kvSchema: policy.kvSchema ?? 0,
      notes: policy.kv ? [["kv", policy.kv]] : [],
    }),
    init: (config) => told(() => void policy.init?.(JSON.parse(config))),
  };
  return { lifecycle, routing: { route: (ctx, features, models) => told(() => policy.route(ctx, features, models)) } };
}
