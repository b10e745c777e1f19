//! Always the first model, for reason 71.

guest_kit::router!("fixed-first", |_, _, _| Ok(guest_kit::only(0, 71)));
