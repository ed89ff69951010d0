//! Which instant is a time on the wall, and which time on the wall is an instant?

use arrow::array::timezone::Tz;
use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};

use crate::admission::refusals::shown;
use crate::error::{Code, Error, Result};

/// A time zone; UTC is fast.
pub(crate) struct Zone {
    /// `None` is UTC.
    tz: Option<Tz>,
    name: String,
}

impl Zone {
    /// Reads an IANA name (`Europe/Berlin`) or an offset (`+02:00`); nothing is UTC.
    pub fn parse(name: Option<&str>) -> Result<Self> {
        let name = name.unwrap_or("UTC");
        if ["utc", "z", "etc/utc", "+00:00"].contains(&name.to_ascii_lowercase().as_str()) {
            return Ok(Self { tz: None, name: "UTC".to_owned() });
        }
        match name.parse() {
            Ok(tz) => Ok(Self { tz: Some(tz), name: name.to_owned() }),
            Err(_) => Err(Error::new(Code::InvalidSetting, format!("there is no time zone '{}'", shown(name)))
                .hint("use a name like Europe/Berlin or an offset like +02:00")),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instant at which the wall shows `wall_us`; µs since 1970. `None` if the clocks skip that time. Of two
    /// such instants (the clocks go back) the first one, as java.time has it.
    pub fn to_instant(&self, wall_us: i64) -> Option<i64> {
        let Some(tz) = self.tz else { return Some(wall_us) };
        let local = tz.from_local_datetime(&naive(wall_us)?).earliest()?;
        Some(local.timestamp_micros())
    }

    /// What the wall shows at `instant_us`. `None` only for years that no value has.
    pub fn to_wall(&self, instant_us: i64) -> Option<i64> {
        let Some(tz) = self.tz else { return Some(instant_us) };
        let offset = tz.offset_from_utc_datetime(&naive(instant_us)?).fix();
        instant_us.checked_add(i64::from(offset.local_minus_utc()) * 1_000_000)
    }
}

fn naive(us: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(us).map(|time| time.naive_utc())
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff`; `None` outside of the years 1 to 9999.
pub(crate) fn wall_text(us: i64) -> Option<String> {
    let (low, high) = super::range::TIMES_US;
    if !(low..=high).contains(&us) {
        return None;
    }
    naive(us).map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
}
