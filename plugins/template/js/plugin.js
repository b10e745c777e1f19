// Whoever is in a hurry gets the fastest model; other requests are left to the gateway's own router.

import { decline, plan, router } from "./kairos-plugin.js";

export const { lifecycle, routing } = router({
  name: "my-plugin",
  version: "0.1.0",
  reasons: ["in-a-hurry"],

  // `config` is what the operator configured, read from its JSON.
  init(config) {},

  route(ctx, features, models) {
    if (features.maxLatencyMs == null) decline();
    let fastest = 0;
    models.forEach((model, index) => {
      if (model.latencyMs < models[fastest].latencyMs) fastest = index;
    });
    return plan([fastest], 1);
  },
});
