//! The price of a token by model, route, region, service tier and context band.
//!
//! It must not know what a request is. A price nobody published is absent, not zero.

use jiff::civil::Date;

use super::regions::Region;
use super::{BadTable, Route};
use crate::money::Usd;
use crate::usage::Usage;

/// The service tier a request was served at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tier {
    Standard,
    Priority,
    Flex,
}

impl Tier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Priority => "priority",
            Self::Flex => "flex",
        }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Standard => 0,
            Self::Priority => 1,
            Self::Flex => 2,
        }
    }

    fn parse(word: &str) -> Result<Self, BadTable> {
        [Self::Standard, Self::Priority, Self::Flex]
            .into_iter()
            .find(|tier| tier.name() == word)
            .ok_or_else(|| BadTable::value("tier", word))
    }
}

/// What is counted and charged by the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Input,
    Output,
    CacheRead,
    CacheWrite5m,
    CacheWrite1h,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Input, Self::Output, Self::CacheRead, Self::CacheWrite5m, Self::CacheWrite1h];
}

/// What is counted and charged by the piece or by the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Piece {
    Image,
    ImageMade,
    Query,
    AudioSecond,
    VideoSecond,
    VideoSecondMade,
}

impl Piece {
    pub(crate) const ALL: [Self; 6] =
        [Self::Image, Self::ImageMade, Self::Query, Self::AudioSecond, Self::VideoSecond, Self::VideoSecondMade];

    /// Its name in the table of prices.
    pub(crate) fn name(self) -> &'static str {
        ["image", "image_made", "query", "audio_second", "video_second", "video_second_made"][self as usize]
    }
}

/// Picodollars for one token of each kind, and for one of what is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    by_kind: [Option<u64>; 5],
    by_piece: [Option<u64>; Piece::ALL.len()],
}

impl Rates {
    pub(crate) fn of_piece(&self, piece: Piece) -> Option<u64> {
        self.by_piece[piece as usize]
    }

    pub(crate) fn of(&self, kind: Kind) -> Option<u64> {
        self.by_kind[kind as usize]
    }
}

/// The rates of one tier, by context band.
#[derive(Debug)]
pub(crate) struct Tariff {
    pub(crate) tier: Tier,
    /// Ascending; the first is from zero.
    bands: Vec<(u32, Rates)>,
}

impl Tariff {
    /// The band that an input of this size falls into, by number, and its rates.
    pub(crate) fn band(&self, tokens_in: u32) -> (u8, &Rates) {
        let above = self.bands.iter().skip(1).take_while(|(floor, _)| tokens_in > *floor).count();
        (u8::try_from(above).unwrap_or(u8::MAX), &self.bands[above].1)
    }

    /// Whether every band has a price for this kind.
    pub(crate) fn prices(&self, kind: Kind) -> bool {
        self.bands.iter().all(|(_, rates)| rates.of(kind).is_some())
    }

    /// What this usage costs; none if a kind it has is not priced or the sum does not fit.
    pub(crate) fn cost(&self, usage: &Usage) -> Option<u64> {
        let (_, rates) = self.band(usage.tokens_in());
        let tokens = Kind::ALL.into_iter().try_fold(0u64, |sum, kind| match usage.of(kind) {
            0 => Some(sum),
            tokens => sum.checked_add(rates.of(kind)?.checked_mul(u64::from(tokens))?),
        })?;
        Piece::ALL.into_iter().try_fold(tokens, |sum, piece| match usage.of_piece(piece) {
            0 => Some(sum),
            count => sum.checked_add(rates.of_piece(piece)?.checked_mul(u64::from(count))?),
        })
    }
}

/// The prices of one model on one route in one set of regions.
#[derive(Debug)]
pub(crate) struct Sheet {
    route: Route,
    regions: Box<str>,
    tariffs: Vec<Tariff>,
}

impl Sheet {
    pub(crate) fn serves(&self, route: Route, region: Region) -> bool {
        self.route == route
            && match self.regions.strip_suffix('*') {
                // us-gov is a partition of its own, with its own prices or none.
                Some("") => !region.is_gov() || route == Route::UsGov,
                Some(prefix) => region.name().starts_with(prefix),
                None => region.name() == &*self.regions,
            }
    }

    /// The tariff of the tier asked for, or the standard one.
    pub(crate) fn tariff(&self, asked: Tier) -> &Tariff {
        self.tariffs.iter().find(|t| t.tier == asked).unwrap_or(&self.tariffs[0])
    }

    pub(crate) fn is_for_one_gov_region(&self) -> bool {
        self.regions.starts_with("us-gov-")
    }

    pub(crate) fn route(&self) -> Route {
        self.route
    }
}

/// A line of the table.
pub(super) struct Line<'a> {
    pub(super) model: &'a str,
    route: Route,
    regions: &'a str,
    tier: Tier,
    band: u32,
    from: Option<Date>,
    rates: Rates,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a str) -> Result<Self, BadTable> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [model, route, regions, tier, band, from, ref prices @ ..] = columns[..] else {
            return Err(BadTable::Columns { found: columns.len(), wanted: 11 });
        };
        let Some((tokens, pieces)) = prices.split_at_checked(Kind::ALL.len()) else {
            return Err(BadTable::Columns { found: columns.len(), wanted: 11 });
        };
        let amount = |text: &str| {
            let amount: Usd = text.parse().map_err(|_| BadTable::value("price", text))?;
            u64::try_from(amount.picodollars()).map_err(|_| BadTable::value("price", text))
        };
        let (mut by_kind, mut by_piece) = ([None; 5], [None; Piece::ALL.len()]);
        for (slot, text) in by_kind.iter_mut().zip(tokens) {
            if *text != "-" {
                *slot = Some(amount(text)?);
            }
        }
        for text in pieces {
            let (name, price) = text.split_once('=').ok_or_else(|| BadTable::value("price", text))?;
            let piece = Piece::ALL.into_iter().find(|piece| piece.name() == name);
            by_piece[piece.ok_or_else(|| BadTable::value("piece", name))? as usize] = Some(amount(price)?);
        }
        let is_chat = by_kind[0].is_some() && by_kind[1].is_some();
        if !is_chat && by_kind[0].is_none() && by_piece == [None; Piece::ALL.len()] {
            return Err(BadTable::value("price", "-"));
        }
        let from = match from {
            "-" => None,
            day => Some(day.parse().map_err(|_| BadTable::value("date", day))?),
        };
        Ok(Self {
            model,
            route: Route::parse(route)?,
            regions,
            tier: Tier::parse(tier)?,
            band: band.parse().map_err(|_| BadTable::value("band", band))?,
            from,
            rates: Rates { by_kind, by_piece },
        })
    }
}

/// Arranges the lines of one model as they hold on a day, the most particular regions first.
pub(super) fn sheets(mut lines: Vec<Line<'_>>, today: Date) -> Result<Vec<Sheet>, BadTable> {
    lines.retain(|line| line.from.is_none_or(|day| day <= today));
    lines.sort_by_key(|line| {
        let reach = std::cmp::Reverse(line.regions.len());
        (reach, line.regions, line.route, line.tier.number(), line.band, line.from)
    });
    let mut sheets: Vec<Sheet> = Vec::new();
    for line in lines {
        let same = |s: &Sheet| s.route == line.route && *s.regions == *line.regions;
        if !sheets.last().is_some_and(same) {
            let regions = line.regions.into();
            sheets.push(Sheet { route: line.route, regions, tariffs: Vec::new() });
        }
        let Some(sheet) = sheets.last_mut() else {
            continue;
        };
        if sheet.tariffs.last().is_none_or(|t| t.tier != line.tier) {
            sheet.tariffs.push(Tariff { tier: line.tier, bands: Vec::new() });
        }
        let Some(tariff) = sheet.tariffs.last_mut() else {
            continue;
        };
        match tariff.bands.last_mut() {
            // A later price of the same row replaces the earlier one.
            Some((floor, rates)) if *floor == line.band => *rates = line.rates,
            _ => tariff.bands.push((line.band, line.rates)),
        }
    }
    for sheet in &sheets {
        let whole = sheet.tariffs.iter().all(|t| t.bands[0].0 == 0);
        if !whole || sheet.tariffs[0].tier != Tier::Standard {
            return Err(BadTable::value("row without its base", &sheet.regions));
        }
    }
    Ok(sheets)
}
