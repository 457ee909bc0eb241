//! `tradepost accounts pacing`, `pause` and `resume`.

use tradepost_domain::pacing::span;

use super::find;
use crate::args::pacing::PacingArguments;
use crate::client::Client;
use crate::error::Result;
use crate::model::{Account, Pacing, Policy};
use crate::output::{Output, Tone, text};

pub(super) async fn pacing(arguments: PacingArguments, client: &Client, output: &Output) -> Result<()> {
    let PacingArguments { account, policy, reset } = arguments;
    let account = find::account(client, &account).await?;
    let pacing = if reset || !policy.is_empty() {
        let changed = client.update_pacing(account.id.clone(), policy, reset).await?;
        output.message(&format!("The pacing of account {:?} is changed.", account.name));
        changed
    } else {
        client.get_pacing(account.id.clone()).await?
    };
    show(output, &account, &pacing)
}

pub(super) async fn pause(account: &str, client: &Client, output: &Output) -> Result<()> {
    let account = find::account(client, account).await?;
    let pacing = client.pause_account(account.id.clone()).await?;
    output.message(&format!(
        "Account {:?} is paused: nothing of it is begun, and nothing more is published.",
        account.name
    ));
    show(output, &account, &pacing)?;
    output.hint(&format!("let it go on: tradepost accounts resume {:?}", account.name));
    Ok(())
}

pub(super) async fn resume(account: &str, end_rest: bool, client: &Client, output: &Output) -> Result<()> {
    let account = find::account(client, account).await?;
    let pacing = client.resume_account(account.id.clone(), end_rest).await?;
    output.message(&format!("Account {:?} goes on.", account.name));
    show(output, &account, &pacing)?;
    if pacing.cool_down_until.is_some() {
        output.hint(&format!(
            "if what the site complained of is gone, end the rest: tradepost accounts resume {:?} --end-rest",
            account.name
        ));
    }
    Ok(())
}

fn show(output: &Output, account: &Account, pacing: &Pacing) -> Result<()> {
    output.one(pacing, &account.id, || {
        let Pacing { rules, own, used_last_hour, used_last_day, .. } = pacing;
        let state = match (&pacing.paused_at, pacing.waiting_for.as_str()) {
            (Some(at), _) => {
                output.tone(&format!("paused since {}", text::absolute(Some(*at))), Tone::Warning)
            }
            (None, "") => output.tone("may publish now", Tone::Good),
            (None, waits) => output.tone(&format!("waits for {waits}"), Tone::Warning),
        };
        let limit = |count: Option<u32>, own: Option<u32>, used: &str| match count.unwrap_or(0) {
            0 => format!("no limit{}{used}", whose(own.is_some())),
            count => format!("{count}{}{used}", whose(own.is_some())),
        };
        let used = |count: u32| format!(", {count} used");
        text::record(
            output,
            &[
                ("account", format!("{} ({})", account.name, account.id)),
                ("state", state),
                ("in an hour", limit(rules.per_hour, own.per_hour, &used(*used_last_hour))),
                ("in 24 hours", limit(rules.per_day, own.per_day, &used(*used_last_day))),
                ("gap", gap(rules, own)),
                ("quiet hours", format!("{}{}", rules.quiet_hours, whose(!own.quiet_hours.is_empty()))),
                ("time zone", format!("{}{}", rules.time_zone, whose(!own.time_zone.is_empty()))),
                ("while new", new_account(rules, own)),
                ("sign-ins", limit(rules.logins_per_hour, own.logins_per_hour, " in an hour")),
                ("looks", limit(rules.looks_per_hour, own.looks_per_hour, " in an hour")),
            ],
        )
    })
}

fn whose(own: bool) -> &'static str {
    if own { "" } else { " (the site's default)" }
}

fn gap(rules: &Policy, own: &Policy) -> String {
    let whose = whose(own.min_gap_seconds.is_some());
    match rules.min_gap_seconds.unwrap_or(0) {
        0 => format!("none{whose}"),
        seconds => format!("{} between two{whose}", span(std::time::Duration::from_secs(seconds))),
    }
}

fn new_account(rules: &Policy, own: &Policy) -> String {
    let whose = whose(own.new_days.is_some() || own.new_per_day.is_some());
    match (rules.new_days.unwrap_or(0), rules.new_per_day.unwrap_or(0)) {
        (0, _) | (_, 0) => format!("no limit{whose}"),
        (1, count) => format!("{count} in 24 hours on the first day{whose}"),
        (days, count) => format!("{count} in 24 hours for the first {days} days{whose}"),
    }
}
