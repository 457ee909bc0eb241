use proptest::prelude::*;
use uuid::Uuid;

use super::quiet::instant;
use super::*;

/// Tuesday 25 November 2025, 10:00:00 UTC.
const START: Timestamp = Timestamp::from_micros(1_764_064_800_000_000);

fn after(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

fn pacing(own: Policy) -> Pacing {
    Pacing {
        account: AccountId(Uuid::from_u128(1)),
        workspace: WorkspaceId(Uuid::from_u128(2)),
        site: Site::parse("sandbox").expect("a site"),
        added_at: START - DAY.saturating_mul(100),
        own,
        paused_at: None,
        cool_down: None,
        window: Window::ALWAYS,
        uses: Vec::new(),
        version: 1,
    }
}

fn hours(text: &str) -> QuietHours {
    text.parse().expect("hours")
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).expect("a zone")
}

fn policies() -> impl Strategy<Value = Policy> {
    let quiet = (0_i8..24, 0_i8..60, 0_i8..24, 0_i8..60)
        .prop_map(|(a, b, c, d)| hours(&format!("{a:02}:{b:02}-{c:02}:{d:02}")));
    let zones = prop::sample::select(vec![
        "UTC",
        "Europe/Madrid",
        "America/Los_Angeles",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
    ]);
    let limits = (prop::option::of(0_u32..4), prop::option::of(0_u32..6), prop::option::of(0_u64..7_200));
    let ramp = (prop::option::of(0_u32..5), prop::option::of(0_u32..3));
    (limits, prop::option::of(quiet), zones, ramp).prop_map(|((hour, day, gap), quiet, name, (days, new))| {
        Policy {
            per_hour: hour,
            per_day: day,
            min_gap: gap.map(Duration::from_secs),
            quiet_hours: quiet,
            time_zone: Some(zone(name)),
            new_days: days,
            new_per_day: new,
            ..Policy::default()
        }
    })
}

/// Most uses that any span of that length holds.
fn densest(uses: &[Timestamp], span: Duration) -> usize {
    let within =
        |first: &Timestamp| uses.iter().filter(|at| **at >= *first && at.since(*first) < span).count();
    uses.iter().map(within).max().unwrap_or(0)
}

fn is_quiet(quiet: QuietHours, zone: &Zone, at: Timestamp) -> bool {
    // By the text of the hours, so that the test does not use what it tests.
    let text = quiet.to_string();
    let (from, to) = text.split_once('-').expect("hours");
    let clock = instant(at).in_tz(zone.as_str()).expect("a zone").strftime("%H:%M").to_string();
    let (from, to, clock) = (from, to, clock.as_str());
    if from < to { from <= clock && clock < to } else { clock >= from || clock < to }
}

proptest! {
    /// An account that publishes as often as it may never exceeds a limit, never publishes in quiet hours, and always
    /// gets on.
    #[test]
    fn whatever_the_policy_no_span_holds_too_many_and_nobody_starves(
        own in policies(),
        young in any::<bool>(),
        start in 0_u64..400 * 86_400,
        pauses in prop::collection::vec(0_u64..5_400, 30),
    ) {
        let mut now = after(start);
        let mut current = pacing(own.clone());
        if young {
            current.added_at = now;
        }
        let defaults = Rules::none();
        let rules = rules(&current, &defaults);
        let mut used = Vec::new();
        for pause in pauses {
            now = now + Duration::from_secs(pause);
            if let Err(rejected) = step(&current, &defaults, Event::Use, now) {
                let Rejected::Wait(wait) = rejected else { panic!("{rejected}") };
                prop_assert!(wait.until > now, "a wait has an end in the future");
                prop_assert!(wait.until.since(now) <= DAY.saturating_mul(3), "no wait is endless: {wait:?}");
                // The time of the next permission does not move while nothing happens.
                let halfway = now + wait.until.since(now) / 2;
                let later = super::wait(&current, &defaults, halfway).expect("it still waits");
                prop_assert_eq!(later.until, wait.until);
                prop_assert!(super::wait(&current, &defaults, wait.until - Duration::from_micros(1)).is_some());
                now = wait.until;
            }
            current = step(&current, &defaults, Event::Use, now).expect("the promised time has come");
            used.push(now);
            if let Some(quiet) = rules.quiet_hours {
                prop_assert!(!is_quiet(quiet, &rules.time_zone, now), "{quiet} in {}", rules.time_zone);
            }
        }
        let holds = |count: u32, span| count == 0 || densest(&used, span) <= count as usize;
        prop_assert!(holds(rules.per_hour, HOUR) && holds(rules.per_day, DAY));
        prop_assert!(used.windows(2).all(|two| two[1].since(two[0]) >= rules.min_gap));
        let grown = current.added_at + DAY.saturating_mul(rules.new_days);
        let new: Vec<_> = used.iter().copied().filter(|at| young && *at < grown).collect();
        prop_assert!(rules.new_per_day == 0 || densest(&new, DAY) <= rules.new_per_day as usize);
    }

    /// The stored window says the same as the rules, at each moment of it and before it.
    #[test]
    fn a_window_is_open_exactly_when_the_rules_allow(
        own in policies(),
        used in prop::collection::vec(0_u64..86_400, 0..8),
        probes in prop::collection::vec(0_u64..3 * 86_400, 20),
    ) {
        let defaults = Rules::none();
        let mut uses: Vec<_> = used.into_iter().map(after).collect();
        uses.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        let now = after(86_400);
        let mut current = step(&Pacing { uses, ..pacing(own) }, &defaults, Event::Roll, now).expect("rolls");
        let mut probes: Vec<_> = probes.into_iter().map(|probe| now + Duration::from_secs(probe)).collect();
        probes.sort_unstable();
        for at in probes {
            // The sweep decides anew once a window has ended.
            if current.window.until.is_some_and(|until| until <= at) {
                current = step(&current, &defaults, Event::Roll, at).expect("rolls");
            }
            prop_assert_eq!(current.window.allows(at), wait(&current, &defaults, at).is_none());
        }
    }

    #[test]
    fn a_publication_that_was_given_back_leaves_no_trace(own in policies(), at in 0_u64..86_400) {
        let (defaults, before) = (Rules::none(), pacing(own));
        let now = after(at);
        if let Ok(armed) = step(&before, &defaults, Event::Use, now) {
            let back = step(&armed, &defaults, Event::Return(now), now).expect("gives back");
            prop_assert_eq!(back.uses, before.uses);
            prop_assert!(back.window.allows(now));
        }
    }

    #[test]
    fn runs_of_other_kinds_keep_their_limit(
        count in 0_u32..4,
        gaps in prop::collection::vec(0_u64..3_600, 1..30),
    ) {
        let mut ready = START;
        let mut runs = Vec::new();
        for gap in gaps {
            let at = next_run(count, &runs, ready + Duration::from_secs(gap));
            prop_assert!(at >= ready && at.since(ready) <= HOUR.saturating_mul(2));
            runs.push(at);
            ready = at;
        }
        prop_assert!(count == 0 || densest(&runs, HOUR) <= count as usize);
    }
}

#[test]
fn quiet_hours_hold_over_midnight_and_over_changes_of_the_clock() {
    let madrid = zone("Europe/Madrid");
    let quiet = hours("22:00-07:00");
    let at = |text: &str| quiet::ours(text.parse().expect("a time"));
    // In winter Madrid is one hour ahead of UTC.
    assert_eq!(quiet.end_of(&madrid, at("2025-11-25T20:59:59Z")), at("2025-11-25T20:59:59Z"));
    assert_eq!(quiet.end_of(&madrid, at("2025-11-25T21:00:00Z")), at("2025-11-26T06:00:00Z"));
    assert_eq!(quiet.end_of(&madrid, at("2025-11-26T05:00:00Z")), at("2025-11-26T06:00:00Z"));
    assert_eq!(quiet.next_start(&madrid, at("2025-11-26T06:00:00Z")), Some(at("2025-11-26T21:00:00Z")));
    // The night of 30 March 2025 has one hour less: 07:00 is 05:00 UTC by then.
    assert_eq!(quiet.end_of(&madrid, at("2025-03-29T22:00:00Z")), at("2025-03-30T05:00:00Z"));
    // 02:30 does not exist that night; the hours end when the clock has passed it.
    assert_eq!(hours("01:00-02:30").end_of(&madrid, at("2025-03-30T00:30:00Z")), at("2025-03-30T01:30:00Z"));
    // On 26 October 2025 the hour from two to three comes twice; the hours hold until the second half past two.
    assert_eq!(hours("01:00-02:30").end_of(&madrid, at("2025-10-26T00:45:00Z")), at("2025-10-26T01:30:00Z"));
}

#[test]
fn what_people_write_is_read_or_refused() {
    assert_eq!(hours("22:00-07:00").to_string(), "22:00-07:00");
    assert_eq!(hours(" 9:30 – 24:00 ").to_string(), "09:30-00:00");
    assert!(hours("none").is_empty() && hours("07:00-07:00").is_empty());
    for wrong in ["", "22-07", "22:00", "25:00-07:00", "22:61-07:00", "+2:00-07:00", "22:00-07:00-09:00"] {
        assert!(wrong.parse::<QuietHours>().is_err(), "{wrong:?}");
    }
    assert_eq!(zone("europe/madrid").as_str(), "Europe/Madrid");
    assert!(Zone::parse("Mars/Olympus").expect_err("unknown").contains("Europe/Madrid"));
    for text in ["+3600", "2026-03-05T00:00:00", "2026-03-05T14:30:00"] {
        assert_eq!(text.parse::<Until>().expect("valid").to_string(), text);
    }
    assert_eq!("2026-03-05".parse::<Until>().expect("valid").to_string(), "2026-03-05T00:00:00");
    assert!("soon".parse::<Until>().is_err() && "+-3".parse::<Until>().is_err());
}

#[test]
fn a_cool_down_follows_the_site_s_words_and_a_longer_one_stays() {
    let (defaults, before) =
        (Rules::none(), pacing(Policy { time_zone: Some(zone("Asia/Tokyo")), ..Policy::default() }));
    let said = |text: &str| Some(text.parse().expect("valid"));
    let cool = |from: &Pacing, class, until| {
        step(from, &defaults, Event::CoolDown { class, until }, START).expect("cools down")
    };
    let end = |pacing: &Pacing| pacing.cool_down.expect("one").until;
    assert_eq!(end(&cool(&before, FailureClass::LimitReached, None)), START + HOUR);
    assert_eq!(end(&cool(&before, FailureClass::LimitReached, said("+600"))), after(600));
    // Midnight in Tokyo is 15:00 UTC of the day before.
    let dated = cool(&before, FailureClass::TemporarilyBlocked, said("2025-11-28"));
    assert_eq!(end(&dated), after((2 * 24 + 5) * 3_600));
    assert_eq!(
        cool(&dated, FailureClass::LimitReached, None).cool_down,
        dated.cool_down,
        "the longer one stays"
    );
    assert_eq!(
        end(&cool(&before, FailureClass::LimitReached, said("2025-11-01"))),
        START + HOUR,
        "the past is no date"
    );
    assert!(end(&cool(&before, FailureClass::LimitReached, said("2999-01-01"))).since(START) <= DAY * 60);
    assert_eq!(dated.window.from, end(&dated));
    let wait = wait(&dated, &defaults, START).expect("it waits");
    assert_eq!(wait.rule, Rule::CoolDown(FailureClass::TemporarilyBlocked));
    let next_year =
        cool(&before, FailureClass::LimitReached, said("0000-01-02")).cool_down.expect("one").until;
    assert_eq!(moment(next_year, &zone("Asia/Tokyo"), START), "Fri 2 Jan 00:00 (Asia/Tokyo), in 37d 5h");
    let ended = step(&dated, &defaults, Event::EndCoolDown, START).expect("ends");
    assert!(ended.window.allows(START));
}

#[test]
fn a_paused_account_gets_no_permit_and_keeps_its_first_pause() {
    let (defaults, before) = (Rules::none(), pacing(Policy::default()));
    let paused = step(&before, &defaults, Event::Pause, START).expect("pauses");
    let again = step(&paused, &defaults, Event::Pause, after(9)).expect("pauses");
    assert_eq!(again.paused_at, Some(START));
    assert_eq!(step(&again, &defaults, Event::Use, after(9)), Err(Rejected::Paused));
    let on = step(&again, &defaults, Event::Resume, after(10)).expect("resumes");
    assert!(step(&on, &defaults, Event::Use, after(10)).is_ok());
}

#[test]
fn an_account_without_rules_keeps_the_window_it_has() {
    let before = pacing(Policy::default());
    let armed = step(&before, &Rules::none(), Event::Use, START).expect("allowed");
    assert_eq!(armed.window, Window::ALWAYS, "nothing is to be written");
}

#[test]
fn every_wait_has_its_sentence_in_the_account_s_time() {
    let madrid = zone("Europe/Madrid");
    let told = |rule, seconds| Wait { until: after(seconds), rule }.sentence(&madrid, START);
    assert_eq!(
        told(Rule::QuietHours(hours("22:00-07:00")), 20 * 3_600),
        "the end of the quiet hours (22:00-07:00), tomorrow 07:00 (Europe/Madrid), in 20h"
    );
    assert_eq!(
        told(Rule::PerDay(20), 3 * 3_600 + 720),
        "the account's limit of 20 publications in 24 hours, until 14:12 (Europe/Madrid), in 3h 12m"
    );
    assert_eq!(
        told(Rule::PerHour(1), 60),
        "the account's limit of 1 publication an hour, until 11:01:00 (Europe/Madrid), in 1m"
    );
    assert_eq!(
        told(Rule::NewAccount { per_day: 5, days: 7 }, 4 * 86_400),
        "the careful start of a new account (5 publications in 24 hours for the first 7 days), until Sat 29 Nov 11:00 \
         (Europe/Madrid), in 4d"
    );
    assert_eq!(
        told(Rule::Gap(Duration::from_secs(90)), 15),
        "the gap of 1m 30s between two publications, until 11:00:15 (Europe/Madrid), in 15s"
    );
    assert_eq!(
        told(Rule::CoolDown(FailureClass::LimitReached), 3_600),
        "the end of the rest after the site said that its posting limit is reached, 12:00 (Europe/Madrid), in 1h"
    );
    let names = [
        Rule::PerHour(1),
        Rule::PerDay(1),
        Rule::NewAccount { per_day: 1, days: 1 },
        Rule::Gap(HOUR),
        Rule::QuietHours(hours("1:00-2:00")),
        Rule::CoolDown(FailureClass::LimitReached),
    ]
    .map(|rule| rule.name());
    assert_eq!(
        names,
        ["limit_per_hour", "limit_per_day", "new_account", "gap", "quiet_hours", "cool_down"],
        "the names are stable"
    );
}
