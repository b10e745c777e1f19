// Scores each model by strength, history, latency and price. Defined in `policies/ROUTING.md`, router `score`.

import { decline, plan, router } from "./kairos-plugin.js";

const NEEDED = { high: "reasoning", low: "speed" };

function isStrong(features, model) {
  const needed = NEEDED[features.complexity];
  return needed !== undefined && model.strengths[needed];
}

function score(features, model, strong) {
  let total = strong ? 0.4 : 0.0;
  total += ((model.successes + 1) / (model.successes + model.failures + 2)) * 0.3;
  if (features.maxLatencyMs != null && model.latencyMs <= features.maxLatencyMs) total += 0.2;
  const cost = (Number(model.inputPrice) / 1e9) * Math.max(features.estimatedTokens, 1);
  return total + Math.min(1.0 / cost / 1000.0, 0.1);
}

function wantsCheaper({ budgetUsed, costSensitivity, accuracy }) {
  return budgetUsed >= 0.8 || (costSensitivity >= 0.7 && costSensitivity > accuracy);
}

export const { lifecycle, routing } = router({
  name: "score",
  version: "0.1.0",
  reasons: ["best-score", "cheaper-model", "named"],

  route(ctx, features, models) {
    if (models.length === 0) decline();
    const scored = models.map((model, index) => {
      const strong = isStrong(features, model);
      return { index, strong, price: Number(model.inputPrice), score: score(features, model, strong) };
    });
    // Sorting is stable: of equal scores the lower index is first.
    const ranked = scored.toSorted((a, b) => b.score - a.score);
    const best = ranked[0];
    let [first, reason] = [best.index, 1];
    if (features.named != null) {
      [first, reason] = [features.named, 3];
    } else if (wantsCheaper(features)) {
      // Nearly as good as the best, and with its strength.
      const near = ranked.filter((one) => one.score + 0.2 + 1e-9 >= best.score && (one.strong || !best.strong));
      const cheapest = near.reduce((found, one) => (one.price < found.price ? one : found));
      [first, reason] = [cheapest.index, 2];
    }
    const others = ranked.map((one) => one.index).filter((index) => index !== first);
    return plan([first, ...others.slice(0, 3)], reason);
  },
});
