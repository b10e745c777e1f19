//! Always the second model, for reason 72; the first where there is no other.

guest_kit::router!("fixed-second", |_, _, models| Ok(guest_kit::only((models.len() > 1) as u32, 72)));
