//! Numbers of several rounds, and how they are told.

/// The middle of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    assert!(!figures.is_empty(), "nothing was measured");
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

/// The figure that so many of a hundred do not exceed.
pub(crate) fn percentile(figures: &mut [u64], percent: usize) -> u64 {
    figures.sort_unstable();
    figures[(figures.len() * percent / 100).min(figures.len() - 1)]
}

/// A row of a Markdown table.
pub(crate) fn row<S: AsRef<str>>(cells: &[S]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    println!("| {} |", cells.join(" | "));
}

/// The head of a Markdown table.
pub(crate) fn head(cells: &[&str]) {
    row(cells);
    row(&vec!["---"; cells.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_tail() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        let mut figures: Vec<u64> = (1..=200).rev().collect();
        assert_eq!((percentile(&mut figures, 50), percentile(&mut figures, 99)), (101, 199));
        assert_eq!(percentile(&mut [7], 99), 7);
    }
}
