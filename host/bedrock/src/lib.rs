//! Everything on the model's side: wire, signing, credentials, catalogue, prices.
