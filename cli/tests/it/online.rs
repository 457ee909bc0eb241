//! What needs a controller: answers, errors, watching.

use std::io::{BufRead, BufReader};
use std::process::Child;

use serde_json::{Value, json};
use tradepost_proto::v1;

use crate::process::{Home, Run};
use crate::server::{self, ACCOUNT, Controller, JOB, LISTING, POSTING};

/// A logged-in home and its controller.
async fn set_up() -> (Home, Controller) {
    let controller = Controller::start().await;
    let home = Home::new();
    tokio::task::block_in_place(|| controller.log_in(&home));
    (home, controller)
}

fn run(home: &Home, arguments: &[&str]) -> Run {
    tokio::task::block_in_place(|| home.run(arguments))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_kept_private_used_and_forgotten() {
    let (home, controller) = set_up().await;
    #[cfg(unix)]
    for file in ["config.toml", "contexts/default.token"] {
        use std::os::unix::fs::PermissionsExt;
        let path = home.path().join(".config/tradepost").join(file);
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let config =
        std::fs::read_to_string(home.path().join(".config/tradepost/config.toml")).expect("readable");
    assert!(!config.contains(server::TOKEN), "the token is kept apart");
    // The authority was copied: the file that was given is not needed any more.
    std::fs::remove_file(home.path().join("ca.pem")).expect("removable");
    let who = json(&run(&home, &["whoami", "-o", "json"]).ok());
    assert_eq!(who["workspaceName"], "Shop");
    assert_eq!(who["role"], "owner");
    let shown = json(&run(&home, &["context", "list", "-o", "json"]).ok());
    assert_eq!(
        shown,
        json!([{
            "name": "default", "current": true, "server": controller.url(), "workspace": "Shop", "user": "eva@example.com"
        }])
    );
    run(&home, &["context", "remove", "default"]).ok();
    assert!(!home.path().join(".config/tradepost/contexts/default.token").exists());
    run(&home, &["whoami"]).fails(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_a_wrong_authority_are_one_line_each() {
    let (home, controller) = set_up().await;
    home.file("wrong", "tp_wrong_token");
    let told = run(&home, &["whoami", "--token-file", "wrong"]).fails(4);
    assert_eq!(
        told,
        "error: the API token was refused: the token is unknown or revoked\n\
         hint: log in again: tradepost login --context default\n"
    );
    let (_, other) = server::authority();
    home.file("other.pem", other);
    let told = run(&home, &["whoami", "--ca-file", "other.pem"]).fails(5);
    assert_eq!(
        told,
        format!(
            "error: the certificate of {} does not come from the authority in other.pem\n\
             hint: use the authority of that controller (--ca-file), or check the address\n",
            controller.url()
        )
    );
    let other_name = format!("https://localhost:{}", controller.address.port());
    let told = run(&home, &["whoami", "--server", &other_name]).fails(2);
    assert!(
        told.starts_with("error: the authority"),
        "the context's token goes to its own controller: {told}"
    );
    let told = run(&home, &["whoami", "--context", "default", "--server", &other_name]).fails(5);
    assert!(told.contains("is for another name"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_tables_for_people_and_json_for_machines() {
    let (home, _controller) = set_up().await;
    let table = run(&home, &["accounts", "list"]).ok();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("ID") && lines[0].contains("AGENT"), "{table}");
    assert!(lines[1].starts_with(ACCOUNT) && lines[1].contains("none"), "{table}");
    assert_eq!(lines.len(), 3, "both pages: {table}");
    assert!(!table.contains('\u{1b}'), "no colour in a pipe");
    let rows = run(&home, &["accounts", "list", "-o", "jsonl"]).ok();
    assert_eq!(json(rows.lines().next().expect("a row"))["siteUrl"], "https://sandbox.example/");
    assert_eq!(run(&home, &["accounts", "list", "-q"]).ok().lines().next(), Some(ACCOUNT));
    let one = run(&home, &["accounts", "list", "--limit", "1"]);
    assert_eq!(one.stderr, "There are more accounts: use --limit or --all.\n");
    let postings = run(&home, &["postings", "list", "--color", "always"]).ok();
    assert!(
        postings.contains('\u{1b}') && postings.contains("Desk lamp") && postings.contains("shop"),
        "{postings}"
    );
    let empty = run(&home, &["agents", "list"]);
    assert_eq!((empty.stdout.as_str(), empty.stderr.as_str()), ("", "There are no agents.\n"));
    assert_eq!(run(&home, &["agents", "list", "-o", "json"]).ok(), "[]\n");
    let status = run(&home, &["status"]).ok();
    assert!(status.contains("1 running") && status.contains("shop on sandbox, no agent"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_found_by_name_and_by_unique_beginning_of_the_id() {
    let (home, _controller) = set_up().await;
    let name = |arguments: &[&str]| json(&run(&home, arguments).ok())["id"].clone();
    assert_eq!(name(&["accounts", "show", "shop", "-o", "json"]), ACCOUNT);
    assert_eq!(name(&["accounts", "show", "A1B2C3", "-o", "json"]), ACCOUNT);
    let told = run(&home, &["accounts", "show", "shp"]).fails(3);
    assert!(
        told.starts_with("error: there is no account \"shp\"\nhint: `tradepost accounts list`"),
        "{told}"
    );
    let told = run(&home, &["postings", "show", "lamp"]).fails(2);
    assert!(told.starts_with("error: \"lamp\" is not the id of a posting"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_enrolment_string_alone_goes_to_standard_output() {
    let (home, _controller) = set_up().await;
    let made = run(&home, &["agents", "enrol-token", "create", "--ttl", "2m"]);
    assert_eq!(made.stdout, "tpe_120\n");
    assert!(made.stderr.contains("tradepost-agent enrol"), "{}", made.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_created_with_their_photos_in_natural_order() {
    let (home, controller) = set_up().await;
    let big = [b"\xff\xd8\xff".as_slice(), &vec![7; 300_000]].concat();
    home.file("shop/lamp/10.jpg", b"\xff\xd8\xffa");
    home.file("shop/lamp/2.jpg", big);
    home.file("shop/lamp/notes.txt", "not a photo");
    home.file(
        "shop/lamp.json",
        r#"{"title": "Desk lamp", "price": 25.50, "currency": "EUR", "category": "Home", "condition": "like new",
            "location": "Berlin", "attributes": {"brand": "Kaiser"}, "photos": "lamp"}"#,
    );
    let made = json(&run(&home, &["listings", "create", "--file", "shop/lamp.json", "-o", "json"]).ok());
    assert_eq!(made[0]["content"]["photoIds"], json!(["photo-2.jpg", "photo-10.jpg"]));
    assert_eq!(made[0]["content"]["price"], json!({ "minorUnits": 2550, "currencyCode": "EUR" }));
    assert_eq!(made[0]["content"]["condition"], "like_new");
    let script = controller.script();
    assert_eq!(script.uploaded, [("2.jpg".to_owned(), 300_003), ("10.jpg".to_owned(), 4)]);
    assert_eq!(script.created[0].attributes["brand"], "Kaiser");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_controller_refuses_is_told_field_by_field() {
    let (home, _controller) = set_up().await;
    let listing = "category: Nowhere\ntitle: Lamp\nprice: 3 EUR\ncondition: good\nlocation: Berlin\n";
    home.file("lamp.yaml", listing);
    let told = run(&home, &["listings", "create", "-f", "lamp.yaml"]).fails(2);
    assert_eq!(
        told,
        "error: lamp.yaml:1: the listing breaks 2 rules\n\
         \x20 - category: is no category of any site; see the list\n\
         \x20 - photos[0]: is not in the workspace\n"
    );
    let told = run(&home, &["postings", "cancel", POSTING]).fails(1);
    assert_eq!(
        told,
        "error: the listing may be published already; it is being found out\n\
         hint: `tradepost postings watch POSTING` shows what becomes of it\n"
    );
    let told = run(&home, &["postings", "receipt", POSTING]).fails(3);
    assert!(told.starts_with("error: the posting has no receipt: it is not published\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_repeated_while_the_controller_is_unavailable() {
    let (home, controller) = set_up().await;
    controller.script().unavailable = 2;
    run(&home, &["whoami"]).ok();
    controller.script().unavailable = 100;
    let told = run(&home, &["whoami", "--timeout", "20s"]).fails(5);
    assert!(told.starts_with("error: restarting\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_saved_inside_the_folder() {
    let (home, _controller) = set_up().await;
    run(&home, &["jobs", "evidence", JOB, "--save", "seen"]).ok();
    let saved =
        std::fs::read_to_string(home.path().join("seen/run1__before_fence.png")).expect("it is there");
    assert_eq!(saved, "hello");
    #[cfg(unix)]
    for (path, wanted) in [("seen", 0o700), ("seen/run1__before_fence.png", 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(home.path().join(path)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, wanted, "{path}");
    }
    let listed = json(&run(&home, &["jobs", "evidence", JOB, "-o", "json"]).ok());
    assert_eq!(listed[0]["runLease"], 7, "machines get the lease");
}

/// Reads lines of a child's standard error until one holds `wanted`.
fn read_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, wanted: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for line in lines {
        seen.push(line.expect("UTF-8"));
        if seen.last().is_some_and(|line| line.contains(wanted)) {
            return seen;
        }
    }
    panic!("{wanted:?} did not come: {seen:#?}");
}

fn finish(child: Child) -> Run {
    tokio::task::block_in_place(|| Run::of(child.wait_with_output().expect("it ends")))
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_survives_a_lost_controller_and_ends_with_the_receipt() {
    use v1::{Phase, StepStatus};
    let (home, controller) = set_up().await;
    let arguments = ["postings", "create", "--listing", LISTING, "--account", "shop", "--watch"];
    let mut child = home.command(&arguments).spawn().expect("it starts");
    let mut messages = BufReader::new(child.stderr.take().expect("piped")).lines();
    controller.streams_opened(1).await;
    controller.script().steps.push(server::step(1, Phase::Prepare, "title", StepStatus::Succeeded));
    controller.wake();
    let seen = tokio::task::block_in_place(|| read_until(&mut messages, "title succeeded"));
    assert!(seen.iter().any(|line| line.ends_with("posting running")), "{seen:#?}");
    assert!(seen.last().expect("a line").ends_with("prepare 1/2 title succeeded in 0.3s"), "{seen:#?}");
    controller.cut();
    controller.streams_opened(2).await;
    {
        let mut script = controller.script();
        assert_eq!(script.cursors, [-1, 1], "it resumes after what it has seen");
        script.steps.push(server::step(2, Phase::Confirm, "read_back", StepStatus::Succeeded));
        script.posting_state = v1::PostingState::Published.into();
    }
    controller.wake();
    let seen = tokio::task::block_in_place(|| messages.map(|line| line.expect("UTF-8")).collect::<Vec<_>>());
    let count = |text: &str| seen.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("lost the controller; the work goes on"), 1, "{seen:#?}");
    assert_eq!(count("title succeeded"), 0, "nothing is told twice: {seen:#?}");
    assert_eq!((count("read_back succeeded"), count("posting published")), (1, 1), "{seen:#?}");
    let run = finish(child);
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("https://sandbox.example/item/4711"), "{}", run.stdout);
    assert!(run.stdout.contains("2 of 2 fields as wanted"), "{}", run.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_survives_a_controller_that_goes_away_at_a_look() {
    let (home, controller) = set_up().await;
    let mut child = home.command(&["postings", "watch", POSTING]).spawn().expect("it starts");
    let mut messages = BufReader::new(child.stderr.take().expect("piped")).lines();
    tokio::task::block_in_place(|| read_until(&mut messages, "posting running"));
    {
        let mut script = controller.script();
        // All tries of the look, and the first two of the feed after it.
        script.unavailable = 7;
        script.posting_state = v1::PostingState::Published.into();
    }
    controller.wake();
    let seen = tokio::task::block_in_place(|| messages.map(|line| line.expect("UTF-8")).collect::<Vec<_>>());
    let count = |text: &str| seen.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("lost the controller; the work goes on"), 1, "{seen:#?}");
    assert_eq!((count("The controller is back."), count("posting published")), (1, 1), "{seen:#?}");
    let run = finish(child);
    assert!(run.ok().contains("https://sandbox.example/item/4711"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_followed_to_its_end() {
    let (home, controller) = set_up().await;
    let mut script = controller.script();
    script.steps.push(server::step(1, v1::Phase::Start, "sign_in", v1::StepStatus::Succeeded));
    script.job_state = v1::JobState::Succeeded.into();
    drop(script);
    let watched = run(&home, &["accounts", "login", "shop", "--watch"]);
    assert_eq!((watched.code, watched.stdout.as_str()), (0, ""), "{watched:?}");
    for told in
        ["tradepost accounts credentials set", "sign_in succeeded", "login succeeded", "shop is signed in"]
    {
        assert!(watched.stderr.contains(told), "{told}: {watched:?}");
    }
    controller.script().job_state = v1::JobState::NeedsHuman.into();
    run(&home, &["accounts", "login", "shop", "--watch"]).fails(11);
    assert_eq!(run(&home, &["accounts", "login", "shop"]).ok(), format!("{JOB}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_up_a_second_time_only_when_asked() {
    let (home, controller) = set_up().await;
    controller.script().posting_state = v1::PostingState::Published.into();
    let create = ["postings", "create", "--listing", LISTING, "--account", "shop"];
    assert_eq!(
        run(&home, &create).fails(1),
        "error: the listing is published on the account already; use --again to post it once more\n"
    );
    run(&home, &[&create[..], &["--again"]].concat()).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_without_a_read_back_says_why() {
    let (home, controller) = set_up().await;
    controller.script().posting_state = v1::PostingState::Published.into();
    for (found_by, wanted) in
        [("baseline", "not read back (found by a later look)"), ("person", "on a person's word")]
    {
        found_by.clone_into(&mut controller.script().found_by);
        let shown = run(&home, &["postings", "watch", POSTING]);
        assert!(!shown.stderr.contains("screenshots"), "{shown:?}");
        let receipt = shown.ok();
        assert!(receipt.contains(wanted), "{receipt}");
        assert!(!receipt.contains("took") && !receipt.contains("0 of 0"), "{receipt}");
    }
    let shown = run(&home, &["postings", "receipt", POSTING]).ok();
    assert!(shown.contains("ada@example.com") && shown.contains("after 2 looks"), "{shown}");
    assert!(shown.contains("3 before the click, 4 after; new: 4711"), "{shown}");
    assert!(shown.contains("the reply was lost"), "{shown}");
    let evidence = home.path().join("evidence");
    let save = ["postings", "resolve", POSTING, "--save", &evidence.display().to_string()];
    let told = run(&home, &save).fails(2);
    for wanted in [
        "1 ",
        "4 (before: 3)",
        "4711 https://sandbox.example/item/4711 (another title or price)",
        "What to check by hand",
        "Desk lamp",
    ] {
        assert!(told.contains(wanted), "{wanted} is missing in {told}");
    }
    let saved: Vec<_> =
        std::fs::read_dir(&evidence).expect("made").flatten().map(|file| file.file_name()).collect();
    assert!(
        saved.len() == 2 && saved.iter().all(|name| told.contains(&*name.to_string_lossy())),
        "{saved:?} {told}"
    );
    assert!(told.contains("--published URL\n") && told.contains("--not-published\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pacing_is_shown_and_changed_by_what_is_given() {
    let (home, controller) = set_up().await;
    let shown = run(&home, &["accounts", "pacing", "shop"]).ok();
    assert!(controller.script().asked.is_empty(), "looking changes nothing");
    for line in
        ["waits for the gap of 2m", "5 (the site's default), 2 used", "no limit (the site's default), 0 used"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let options = [
        "--per-day",
        "20",
        "--min-gap",
        "2m",
        "--quiet-hours",
        "22:00-07:00",
        "--time-zone",
        "Europe/Madrid",
    ];
    let changed = run(&home, &[&["accounts", "pacing", "shop"], &options[..]].concat()).ok();
    assert!(changed.contains("20, 2 used") && changed.contains("2m between two\n"), "{changed}");
    let sent = controller.script().policy.clone();
    assert_eq!((sent.per_day, sent.per_hour, sent.new_days), (Some(20), None, None));
    assert_eq!((sent.quiet_hours.as_str(), sent.time_zone.as_str()), ("22:00-07:00", "Europe/Madrid"));
    let reset = json(&run(&home, &["accounts", "pacing", "shop", "--reset", "-o", "json"]).ok());
    assert_eq!(
        (&reset["rules"]["perDay"], &reset["own"], &reset["usedLastDay"]),
        (&json!(5), &json!({}), &json!(2))
    );
    run(&home, &["accounts", "pacing", "shop", "--min-gap", "soon"]).fails(2);
    let paused = run(&home, &["accounts", "pause", "shop"]).ok();
    assert!(paused.contains("paused since 2025-11-25"), "{paused}");
    run(&home, &["accounts", "resume", "shop", "--end-rest"]).ok();
    let asked = controller.script().asked.clone();
    let expected = [
        format!("change {ACCOUNT} reset=false"),
        format!("change {ACCOUNT} reset=true"),
        format!("pause {ACCOUNT}"),
        format!("resume {ACCOUNT} end_cool_down=true"),
    ];
    assert_eq!(asked, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_posting_tells_all_that_stands_in_its_way() {
    let (home, controller) = set_up().await;
    controller.script().posting_state = v1::PostingState::Queued.into();
    let told = run(&home, &["postings", "create", "--listing", LISTING, "--account", "shop"]).ok();
    assert!(told.contains("waits for  the account to be resumed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_is_one_sentence_and_priorities_have_names() {
    let (home, controller) = set_up().await;
    controller.script().posting_state = v1::PostingState::Queued.into();
    let why = run(&home, &["postings", "why", POSTING]).ok();
    assert_eq!(why, "The posting waits for the agent \"pc\" to come online.\n");
    let why = json(&run(&home, &["postings", "why", POSTING, "-o", "json"]).ok());
    let told = (&why["reason"], &why["ahead"], &why["timeZone"], &why["until"]);
    assert_eq!(told, (&json!("agent_offline"), &json!(2), &json!("Europe/Madrid"), &Value::Null));
    controller.script().posting_state = v1::PostingState::Published.into();
    let why = run(&home, &["postings", "why", POSTING]).ok();
    assert_eq!(why, "The posting does not wait: it is published.\n");
    for priority in ["high", "normal", "low", "-7"] {
        run(&home, &["postings", "prioritize", POSTING, priority]).ok();
    }
    assert_eq!(controller.script().asked, ["priority 50", "priority 0", "priority -50", "priority -7"]);
    let told = run(&home, &["postings", "prioritize", POSTING, "101"]).fails(2);
    assert!(told.contains("use high, normal, low, or a number from -100 to 100"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_counted_before_anything_is_done() {
    let (home, controller) = set_up().await;
    let failure = v1::Failure {
        class: "network".to_owned(),
        message: "no answer".to_owned(),
        ..v1::Failure::default()
    };
    controller.script().failure = Some(failure);
    let listed = run(&home, &["jobs", "dead-letters"]).ok();
    assert!(listed.contains(JOB) && listed.contains("no answer"), "{listed}");
    let all = ["jobs", "retry", "--all", "--kind", "publish", "--class", "network"];
    let preview = run(&home, &all);
    assert!(preview.stderr.contains("add --yes to do it"), "{preview:?}");
    assert_eq!(preview.ok(), "4 dead letters fit; nothing is done yet.\n");
    let done = run(&home, &[&all[..], &["--yes"]].concat());
    assert!(done.stderr.contains("this look is not needed any more"), "{done:?}");
    assert_eq!(done.ok(), "2 of 4 dead letters tried again.\n");
    let aside = json(&run(&home, &["jobs", "discard", "--all", "--yes", "-o", "json"]).ok());
    assert_eq!((&aside["matched"], &aside["done"], &aside["preview"]), (&json!(4), &json!(2), &json!(false)));
    run(&home, &["jobs", "retry", JOB]).ok();
    let (one, any) = ("Publish \"network\"", "Unspecified \"\"");
    let expected = [
        format!("COUNT {one}"),
        format!("COUNT {one}"),
        format!("RETRY {one}"),
        format!("RETRY {one}"),
        format!("DISCARD {any}"),
        format!("DISCARD {any}"),
        format!("retry {JOB}"),
    ];
    assert_eq!(controller.script().asked, expected);
    run(&home, &["jobs", "retry"]).fails(2);
    run(&home, &["jobs", "discard", JOB, "--all"]).fails(2);
    run(&home, &["jobs", "discard", JOB, "--class", "network"]).fails(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_tells_how_a_posting_ended() {
    let (home, controller) = set_up().await;
    let failure = v1::Failure {
        class: "needs_login".to_owned(),
        step: "start.login_check".to_owned(),
        field: String::new(),
        message: "the account is signed out".to_owned(),
        until: String::new(),
    };
    controller.script().failure = Some(failure);
    let states = [
        (v1::PostingState::Failed, 10),
        (v1::PostingState::NeedsHuman, 11),
        (v1::PostingState::Cancelled, 13),
    ];
    for (state, code) in states {
        controller.script().posting_state = state.into();
        let told = run(&home, &["postings", "watch", POSTING]).fails(code);
        assert!(told.contains("the account is signed out (needs_login, step start.login_check)"), "{told}");
    }
    controller.script().posting_state = v1::PostingState::NeedsHuman.into();
    let told = run(&home, &["postings", "watch", POSTING]).fails(11);
    assert!(told.contains(&format!("hint: sign in: tradepost accounts login {ACCOUNT}\n")), "{told}");
    controller.script().posting_state = v1::PostingState::Uncertain.into();
    let told = run(&home, &["postings", "watch", POSTING, "--wait", "200ms"]).fails(12);
    assert!(told.contains("--not-published"), "{told}");
    controller.script().posting_state = v1::PostingState::Running.into();
    run(&home, &["postings", "watch", POSTING, "--wait", "200ms"]).fails(14);
    controller.script().posting_state = v1::PostingState::Published.into();
    let watched = run(&home, &["postings", "watch", POSTING, "-o", "json"]).ok();
    assert_eq!(json(&watched)["receipt"]["item"]["itemId"], "4711");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn interrupting_a_watch_leaves_the_posting_running_and_says_so() {
    let (home, controller) = set_up().await;
    let child = home.command(&["postings", "watch", POSTING]).spawn().expect("it starts");
    controller.streams_opened(1).await;
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill runs").success());
    let told = finish(child).fails(130);
    assert!(told.contains("Stopped watching; the posting goes on."), "{told}");
}
