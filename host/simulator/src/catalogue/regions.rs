//! The regions AWS has, and the prefix each carries in usage types.
//!
//! It must not know which model is offered where: the simulator offers all of them everywhere.

/// A region, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Region(u8);

/// Name, and the prefix of its usage types.
const REGIONS: &[(&str, &str)] = &[
    ("us-east-1", "USE1"),
    ("us-east-2", "USE2"),
    ("us-west-1", "USW1"),
    ("us-west-2", "USW2"),
    ("ca-central-1", "CAN1"),
    ("ca-west-1", "CAN2"),
    ("mx-central-1", "MXC1"),
    ("sa-east-1", "SAE1"),
    ("eu-central-1", "EUC1"),
    ("eu-central-2", "EUC2"),
    ("eu-north-1", "EUN1"),
    ("eu-south-1", "EUS1"),
    ("eu-south-2", "EUS2"),
    ("eu-west-1", "EU"),
    ("eu-west-2", "EUW2"),
    ("eu-west-3", "EUW3"),
    ("ap-east-1", "APE1"),
    ("ap-east-2", "APE2"),
    ("ap-northeast-1", "APN1"),
    ("ap-northeast-2", "APN2"),
    ("ap-northeast-3", "APN3"),
    ("ap-south-1", "APS3"),
    ("ap-south-2", "APS5"),
    ("ap-southeast-1", "APS1"),
    ("ap-southeast-2", "APS2"),
    ("ap-southeast-3", "APS4"),
    ("ap-southeast-4", "APS6"),
    ("ap-southeast-5", "APS7"),
    ("ap-southeast-6", "APS8"),
    ("ap-southeast-7", "APS9"),
    ("il-central-1", "ILC1"),
    ("me-central-1", "MEC1"),
    ("me-south-1", "MES1"),
    ("af-south-1", "AFS1"),
    ("us-gov-east-1", "UGE1"),
    ("us-gov-west-1", "UGW1"),
];

impl Region {
    /// Where a caller is taken to be when nothing says it.
    pub(crate) const DEFAULT: Self = Self(0);

    pub(crate) fn find(name: &str) -> Option<Self> {
        let place = REGIONS.iter().position(|(known, _)| *known == name)?;
        u8::try_from(place).ok().map(Self)
    }

    fn row(self) -> (&'static str, &'static str) {
        REGIONS.get(usize::from(self.0)).copied().unwrap_or(REGIONS[0])
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn billing_prefix(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn is_gov(self) -> bool {
        self.name().starts_with("us-gov-")
    }

    /// The geographic profiles that lie around this region.
    pub(crate) fn geography(self) -> &'static str {
        let name = self.name();
        match name.split('-').next() {
            _ if self.is_gov() => "us-gov",
            Some("eu") => "eu",
            Some("ap") => "apac",
            _ => "us",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_has_its_own_name_and_prefix() {
        for (at, (name, prefix)) in REGIONS.iter().enumerate() {
            let region = Region::find(name).unwrap();
            assert_eq!((usize::from(region.0), region.name()), (at, *name));
            assert_eq!(REGIONS.iter().filter(|(_, p)| p == prefix).count(), 1, "{prefix}");
        }
        assert_eq!(Region::DEFAULT.name(), "us-east-1");
        assert_eq!(Region::find("us-moon-1"), None);
    }
}
