//! How often an account may act: `tradepost accounts pacing …`.

use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct PacingArguments {
    /// Id, unique beginning of the id, or name
    pub(crate) account: String,
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    /// Forget the account's own policy first: the site's defaults hold
    #[arg(long)]
    pub(crate) reset: bool,
}

/// What is given is set; 0 (or none) lifts a limit.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct PolicyArguments {
    /// Most publications in any hour
    #[arg(long, value_name = "N")]
    pub(crate) per_hour: Option<u32>,
    /// Most publications in any 24 hours
    #[arg(long, value_name = "N")]
    pub(crate) per_day: Option<u32>,
    /// Least time between two publications, e.g. 2m; 0s for none
    #[arg(long, value_name = "DURATION", value_parser = gap)]
    pub(crate) min_gap: Option<Duration>,
    /// No publications in these hours, e.g. 22:00-07:00, or none
    #[arg(long, value_name = "HOURS")]
    pub(crate) quiet_hours: Option<String>,
    /// Zone of the quiet hours, e.g. Europe/Madrid
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// Days for which the account is new
    #[arg(long, value_name = "DAYS")]
    pub(crate) new_days: Option<u32>,
    /// Most publications in any 24 hours while it is new
    #[arg(long, value_name = "N")]
    pub(crate) new_per_day: Option<u32>,
    /// Most sign-ins in any hour
    #[arg(long, value_name = "N")]
    pub(crate) logins_per_hour: Option<u32>,
    /// Most looks for an uncertain listing in any hour
    #[arg(long, value_name = "N")]
    pub(crate) looks_per_hour: Option<u32>,
}

impl PolicyArguments {
    /// Whether nothing is to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            per_hour,
            per_day,
            min_gap,
            quiet_hours,
            time_zone,
            new_days,
            new_per_day,
            logins_per_hour,
            looks_per_hour,
        } = self;
        let counts = [per_hour, per_day, new_days, new_per_day, logins_per_hour, looks_per_hour];
        counts.iter().all(|count| count.is_none())
            && min_gap.is_none()
            && quiet_hours.is_none()
            && time_zone.is_none()
    }
}

fn gap(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "none") {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|_| String::from("not a duration; write for example 90s or 2m, or 0s for none"))
}
