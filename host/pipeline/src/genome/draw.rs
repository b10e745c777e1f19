//! Randomness of mutators: a seed, and the number of the draw.

/// The n-th draw of a seed, in [0, 1): SplitMix64 of both, its upper 53 bits. The same in every form of a policy.
pub fn draw(seed: u64, n: u64) -> f64 {
    let mut bits = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of SplitMix64 from 0, as its author publishes them.
    #[test]
    fn draws_are_those_of_splitmix64() {
        let first = [0xe220_a839_7b1d_cdafu64, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        for (n, bits) in first.into_iter().enumerate() {
            assert_eq!(draw(0, n as u64), (bits >> 11) as f64 / (1u64 << 53) as f64);
        }
        assert!((0..10_000).all(|n| (0.0..1.0).contains(&draw(u64::MAX, n))));
    }
}
