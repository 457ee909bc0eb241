use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn run() -> RunKey {
    RunKey { job: JobId(Uuid::from_u128(1)), lease: RunLease(7) }
}

fn request(name: &str) -> PermitRequest {
    PermitRequest {
        request: name.into(),
        run: run(),
        intent: IntentId(Uuid::from_u128(2)),
        generation: 1,
        epoch: SessionEpoch(3),
        baseline_sha256: "b".into(),
        fingerprint: "f".into(),
    }
}

fn permit() -> PermitId {
    PermitId(Uuid::from_u128(9))
}

/// A whole publication, in the order in which it is journalled.
fn publication() -> Vec<Record> {
    let permit = permit();
    let uncertain = Outcome::Uncertain("lost".into());
    vec![
        Record::RunStarted { run: run(), account: AccountId(Uuid::from_u128(4)) },
        Record::ProcessesStarted { processes: vec![ProcessRef { pid: 1, started: 2 }] },
        Record::PermitRequested(request("r")),
        Record::Permit { request: "r".into(), permit, ttl: Duration::from_secs(15) },
        Record::WillClick { permit },
        Record::Clicked { permit },
        Record::Outcome { permit, outcome: uncertain },
        Record::Settled { permit },
        Record::RunEnded { run: run() },
    ]
}

fn state_after(records: usize) -> State {
    let mut state = State::default();
    publication().into_iter().take(records).for_each(|record| state.apply(record));
    state
}

#[test]
fn each_prefix_of_a_publication_recovers_rightly() {
    let outcome = |records: usize| match state_after(records).recovery().as_slice() {
        [Recovery::Settle { outcome, .. }] => match outcome {
            Outcome::NotClicked(_) => "not clicked",
            Outcome::Uncertain(reason) if reason == "lost" => "the journalled outcome",
            Outcome::Uncertain(_) => "uncertain",
            Outcome::Confirmed(_) => "confirmed",
        },
        [Recovery::AskAgain(asked)] if *asked == request("r") => "ask again",
        [] => "nothing",
        other => panic!("{other:?}"),
    };
    let table = [
        (0, "nothing"),
        (2, "nothing"),
        (3, "ask again"),
        (4, "not clicked"),
        (5, "uncertain"),
        (6, "uncertain"),
        (7, "the journalled outcome"),
        (8, "nothing"),
        (9, "nothing"),
    ];
    for (records, expected) in table {
        assert_eq!(outcome(records), expected, "after {records} records");
    }
}

#[test]
fn a_denied_request_needs_nothing() {
    let mut state = state_after(3);
    state.apply(Record::PermitDenied { request: "r".into() });
    assert_eq!(state.recovery(), []);
}

#[test]
fn a_damaged_journal_proves_no_missing_click() {
    let mut bytes = Vec::new();
    for record in publication().into_iter().take(4) {
        bytes.extend(encode(&record).expect("encodes"));
    }
    bytes[3] ^= 1;
    let contents = read(&bytes);
    assert!(contents.damaged && contents.kept == bytes.len());
    let recovery = State::of(contents).recovery();
    assert!(
        matches!(&recovery[..], [Recovery::Settle { outcome: Outcome::Uncertain(_), .. }]),
        "{recovery:?}"
    );
}

#[test]
fn an_open_journal_goes_on_after_a_torn_tail_at_every_byte() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("journal");
    let records = publication();
    let mut bytes = Vec::new();
    let mut ends = vec![0];
    for record in &records {
        bytes.extend(encode(record).expect("encodes"));
        ends.push(bytes.len());
    }
    for cut in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..cut]).expect("written");
        let journal = Journal::open(&path).expect("opens");
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(journal.state(), state_after(whole), "cut at {cut}");
        journal.append(Record::RunEnded { run: run() }).expect("appended");
        drop(journal);
        let again = Journal::open(&path).expect("opens again");
        assert!(!again.state().damaged() && again.state().runs().is_empty(), "cut at {cut}");
    }
}

#[test]
fn a_settled_journal_is_compacted_and_keeps_what_is_still_true() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("journal");
    let journal = Journal::open(&path).expect("opens");
    let process = ProcessRef { pid: 11, started: 12 };
    journal.append(Record::ProcessesStarted { processes: vec![process] }).expect("appended");
    let mut rounds = 0;
    let mut longest = 0;
    while rounds < 200 {
        for record in publication() {
            journal.append(record).expect("appended");
        }
        rounds += 1;
        longest = longest.max(std::fs::metadata(&path).expect("there").len());
    }
    assert!(longest < COMPACT_ABOVE_BYTES + 4096);
    drop(journal);
    let processes = Journal::open(&path).expect("opens").state().processes();
    assert!(processes.contains(&process));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_fail_and_a_flipped_bit_is_noticed(
        noise in prop::collection::vec(any::<u8>(), 0..200), line in 0_usize..9, bit in 0_usize..400,
    ) {
        read(&noise);
        let records = publication();
        let mut bytes = encode(&records[line]).expect("encodes");
        let at = bit % ((bytes.len() - 1) * 8);
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(read(&bytes).records.is_empty());
    }
}

/// A settled permit of run `lease`, as it is journalled.
fn settled(lease: i64, outcome: Outcome, last: impl FnOnce(PermitId) -> Record) -> Vec<Record> {
    let name = format!("r{lease}");
    let permit = PermitId(Uuid::from_u128(1_000 + u128::try_from(lease).expect("positive")));
    let run = RunKey { lease: RunLease(lease), ..run() };
    let request = PermitRequest { run, ..request(&name) };
    vec![
        Record::PermitRequested(request),
        Record::Permit { request: name, permit, ttl: Duration::from_secs(15) },
        Record::WillClick { permit },
        Record::Outcome { permit, outcome },
        last(permit),
    ]
}

#[test]
fn settled_permits_and_numbers_survive_compaction_and_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let journal = Journal::open(&path).expect("opened");
    let written = |journal: &Journal, records: Vec<Record>| {
        for record in records {
            journal.append(record).expect("written");
        }
    };
    let (fleet_epoch, session_epoch) = (FleetEpoch(2), SessionEpoch(44));
    written(&journal, vec![Record::Welcomed { fleet_epoch, session_epoch }]);
    // Long enough for several compactions.
    let outcome = || Outcome::NotClicked("x".repeat(20_000));
    for lease in 1..=20 {
        written(&journal, settled(lease, outcome(), |permit| Record::Settled { permit }));
    }
    written(&journal, settled(21, Outcome::Uncertain("?".into()), |permit| Record::Settled { permit }));
    written(&journal, settled(22, outcome(), |permit| Record::Refused { permit }));
    drop(journal);
    let state = Journal::open(&path).expect("opened").state();
    let known = state.knowledge();
    assert_eq!(
        (known.fleet_epoch, known.session_epoch, known.run_lease),
        (fleet_epoch, session_epoch, RunLease(22))
    );
    assert_eq!(known.whole_since, RunLease(0), "a new journal has held everything");
    let decided: Vec<_> = known.permits.iter().map(|permit| permit.decided).collect();
    assert_eq!(decided.len(), 22);
    assert!(decided[..20].iter().all(|decided| *decided) && !decided[20] && !decided[21], "{decided:?}");
    let told: Vec<_> = state.told().iter().map(|told| told.request.run.lease.0).collect();
    assert_eq!(told, (1..=22).collect::<Vec<_>>(), "oldest first");
}

#[test]
fn a_journal_that_lost_something_vouches_from_there_on_only() {
    let mut state = State::default();
    state.apply(Record::Marks(Marks::default()));
    for lease in 1..=1_005 {
        for record in settled(lease, Outcome::NotClicked("no".into()), |permit| Record::Settled { permit }) {
            state.apply(record);
        }
    }
    let known = state.knowledge();
    assert_eq!(known.permits.len(), tradepost_domain::fleet::PERMITS_TOLD, "the newest");
    assert_eq!(known.whole_since, RunLease(6), "five were forgotten");
    assert!(!known.vouches_since(RunLease(4)) && known.vouches_since(RunLease(5)));

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    // An earlier version's journal keeps no marks: it may have dropped what was settled.
    let older = encode(&Record::RunStarted {
        run: RunKey { lease: RunLease(9), ..run() },
        account: AccountId(Uuid::from_u128(4)),
    });
    std::fs::write(&path, older.expect("encoded")).expect("written");
    let known = Journal::open(&path).expect("opened").state().knowledge();
    assert_eq!(known.whole_since, RunLease(10));
    let known = Journal::open(&path).expect("opened again").state().knowledge();
    assert_eq!(known.whole_since, RunLease(10), "and stays so");
}
