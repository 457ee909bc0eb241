use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::checkpoint::{Book, Checkpoint, Signed};
use super::verify::{Finding, Mark, Verdict, Verifier, What};
use super::*;
use crate::id::ContentHash;

const OURS: Chain = Chain(Some(WorkspaceId(Uuid::from_u128(0x77))));

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).expect("small")
}

fn entry(n: u128) -> Entry {
    Entry {
        id: AuditEntryId(Uuid::from_u128(n)),
        at: at(i64::try_from(n).expect("small")),
        chain: OURS,
        actor: Actor::User(UserId(Uuid::from_u128(5))).name().into(),
        actor_id: Some(Uuid::from_u128(5)),
        proof: String::from("session"),
        proof_id: Some(Uuid::from_u128(6)),
        peer: String::from("192.0.2.1"),
        method: String::from("tradepost.v1.PostingService/CreatePosting"),
        target: Target::Posting.name().into(),
        target_id: Some(Uuid::from_u128(n + 1000)),
        outcome: Outcome::Done.name().into(),
        reason: String::new(),
        call: CallId(Uuid::from_u128(n + 2000)),
        controller: ControllerId(Uuid::from_u128(9)),
        details: BTreeMap::from([(Detail::Priority.name().into(), n.to_string())]),
    }
}

fn chain(length: u128) -> (Vec<Link>, Head) {
    let (mut head, mut buffer) = (Head::empty(OURS), Vec::new());
    let links = (1..=length).map(|n| head.append(entry(n), &mut buffer)).collect();
    (links, head)
}

fn verify(links: &[Link], marks: Vec<Mark>, noted: Option<Head>) -> Verdict {
    let mut verifier = Verifier::new(OURS, marks);
    for link in links {
        verifier.push(link);
    }
    verifier.finish(noted)
}

fn mark(links: &[Link], count: usize, when: i64) -> Mark {
    Mark { count: links[count - 1].seq, hash: links[count - 1].hash, at: at(when) }
}

fn first(verdict: &Verdict) -> (i64, What) {
    let Finding { seq, what } = verdict.findings.first().cloned().expect("a finding");
    (seq, what)
}

/// The fields of an entry, one after the other, changed.
fn edits() -> Vec<fn(&mut Entry)> {
    vec![
        |e| e.id.0 = Uuid::from_u128(4242),
        |e| e.at = at(4242),
        |e| e.actor = String::from("host"),
        |e| e.actor_id = None,
        |e| e.proof = String::from("token"),
        |e| e.proof_id = Some(Uuid::from_u128(4242)),
        |e| e.peer.push('7'),
        |e| e.method.push('s'),
        |e| e.target = String::from("job"),
        |e| e.target_id = Some(Uuid::from_u128(4242)),
        |e| e.outcome = String::from("refused"),
        |e| e.reason = String::from("ROLE_INSUFFICIENT"),
        |e| e.call.0 = Uuid::from_u128(4242),
        |e| e.controller.0 = Uuid::from_u128(4242),
        |e| drop(e.details.insert(String::from("priority"), String::from("-1"))),
        |e| drop(e.details.insert(String::from("role"), String::from("owner"))),
        |e| e.details.clear(),
    ]
}

/// Anyone can compute it anew: docs/SECURITY.md has a program of a few lines, and this is what it prints.
#[test]
fn the_encoding_stays_as_it_is() {
    let (links, _) = chain(2);
    assert_eq!(links[0].hash.to_string(), FIRST);
    assert_eq!(links[1].hash.to_string(), SECOND);
    let mut system = Head::empty(Chain::SYSTEM);
    let bare = Entry { chain: Chain::SYSTEM, actor_id: None, details: BTreeMap::new(), ..entry(1) };
    assert_eq!(system.append(bare, &mut Vec::new()).hash.to_string(), BARE);
}

const FIRST: &str = "be84c2db7348431e132c6a4e4edc9b1d24f71d7fa29a1bddd4c636ced3eaa190";
const SECOND: &str = "aeb1448547736f9aaf2c04666de806e8dedc03b4119debc2b3ab95f5d517c099";
const BARE: &str = "b164d5c4f2a53e82c6de5ec4323734ef611246f2f983f66e6491d3d1b3a83e6d";

#[test]
fn moving_a_byte_from_one_field_to_the_next_changes_the_hash() {
    let one = Entry { actor: "ab".into(), proof: "c".into(), actor_id: None, ..entry(1) };
    let other = Entry { actor: "a".into(), proof: "bc".into(), actor_id: None, ..entry(1) };
    let hash = |entry| encoding::hash(Hash::ZERO, 1, entry, &mut Vec::new());
    assert_ne!(hash(&one), hash(&other));
}

#[test]
fn a_whole_chain_is_whole_and_agrees_with_its_checkpoints() {
    let (links, head) = chain(30);
    let verdict = verify(&links, vec![mark(&links, 10, 1), mark(&links, 30, 2)], Some(head));
    assert!(verdict.is_whole(), "{verdict:?}");
    assert_eq!((verdict.agreeing, verdict.read, verdict.head), (2, 30, head));
    assert!(verify(&[], Vec::new(), Some(Head::empty(OURS))).is_whole());
}

#[test]
fn every_field_is_part_of_the_hash() {
    let (links, head) = chain(5);
    for (n, edit) in edits().into_iter().enumerate() {
        for place in 0..links.len() {
            let mut edited = links.clone();
            edit(&mut edited[place].entry);
            let verdict = verify(&edited, Vec::new(), Some(head));
            assert_eq!(first(&verdict), (links[place].seq, What::Edited), "edit {n} at {place}");
            assert_eq!(verdict.findings.len(), 1, "edit {n} at {place} is one finding");
        }
    }
}

#[test]
fn an_entry_that_was_edited_and_hashed_anew_does_not_fit_the_next_one() {
    let (mut links, head) = chain(6);
    links[2].entry.peer = String::from("198.51.100.7");
    links[2].hash = encoding::hash(links[1].hash, 3, &links[2].entry, &mut Vec::new());
    assert_eq!(first(&verify(&links, Vec::new(), Some(head))), (4, What::Edited));
}

#[test]
fn a_chain_that_was_written_anew_is_found_by_a_checkpoint() {
    let (links, _) = chain(20);
    let marks = vec![mark(&links, 12, 77)];
    let (mut anew, mut buffer) = (Head::empty(OURS), Vec::new());
    let forged: Vec<Link> = (1..=20)
        .map(|n| {
            let mut entry = entry(n);
            if n == 9 {
                entry.actor_id = Some(Uuid::from_u128(666));
            }
            anew.append(entry, &mut buffer)
        })
        .collect();
    assert!(verify(&forged, Vec::new(), Some(anew)).is_whole(), "nothing else can find it");
    let verdict = verify(&forged, marks, Some(anew));
    assert_eq!(first(&verdict), (12, What::Rewritten { checkpoint: Some(at(77)) }));
}

#[test]
fn a_tail_that_was_cut_off_is_found_by_checkpoint_and_by_the_noted_end() {
    let (links, head) = chain(20);
    for kept in 0..20 {
        let place = i64::try_from(kept).expect("small") + 1;
        let cut = &links[..kept];
        let by_mark = verify(cut, vec![mark(&links, 20, 1)], None);
        assert_eq!(first(&by_mark), (place, What::Truncated { through: 20 }));
        let by_head = verify(cut, Vec::new(), Some(head));
        assert_eq!(first(&by_head), (place, What::Truncated { through: 20 }));
    }
}

#[test]
fn a_chain_that_grew_again_behind_a_cut_is_found_by_its_checkpoint() {
    let (links, _) = chain(20);
    let (mut short, mut head) = (links[..10].to_vec(), Head { chain: OURS, count: 10, hash: links[9].hash });
    short.extend((100..120).map(|n| head.append(entry(n), &mut Vec::new())));
    let verdict = verify(&short, vec![mark(&links, 8, 1), mark(&links, 20, 2)], Some(head));
    assert_eq!(first(&verdict), (20, What::Rewritten { checkpoint: Some(at(2)) }));
    assert_eq!(verdict.agreeing, 1);
}

/// The chain of a backup with ten links, restored when twenty had been written; it went on with two.
fn restored(kept: &str, when: i64) -> (Vec<Link>, Vec<Link>) {
    let (links, _) = chain(20);
    let (mut short, mut head) = (links[..10].to_vec(), Head { chain: OURS, count: 10, hash: links[9].hash });
    let mut told = Entry { method: RESTORED.into(), at: at(when), ..entry(300) };
    told.set_detail(Detail::Kept, kept);
    short.push(head.append(told, &mut Vec::new()));
    short.push(head.append(entry(301), &mut Vec::new()));
    (links, short)
}

#[test]
fn a_restored_backup_is_told_and_is_no_finding() {
    let (lost, chain) = restored("10", 500);
    let verdict =
        verify(&chain, vec![mark(&lost, 10, 400), mark(&lost, 12, 410), mark(&lost, 20, 450)], None);
    assert!(verdict.is_whole(), "{verdict:?}");
    let [restore] = verdict.restores.as_slice() else { panic!("{verdict:?}") };
    assert_eq!((restore.seq, restore.kept, restore.had), (11, 10, Some(20)));
}

#[test]
fn a_restored_backup_explains_nothing_that_it_had_and_nothing_after_it() {
    let (lost, chain) = restored("10", 500);
    let after = verify(&chain, vec![mark(&lost, 20, 501)], None);
    assert_eq!(first(&after), (13, What::Truncated { through: 20 }));
    let mut within = mark(&lost, 10, 400);
    within.hash = Hash::ZERO;
    assert_eq!(
        first(&verify(&chain, vec![within], None)),
        (10, What::Rewritten { checkpoint: Some(at(400)) })
    );
    let (lost, unreadable) = restored("many", 500);
    assert!(!verify(&unreadable, vec![mark(&lost, 20, 450)], None).is_whole());
}

#[test]
fn a_chain_without_its_beginning_needs_a_checkpoint_of_the_place() {
    let (links, head) = chain(20);
    let rest = &links[10..];
    let verdict = verify(rest, vec![mark(&links, 10, 1)], Some(head));
    assert!(verdict.is_whole(), "{verdict:?}");
    assert_eq!(verdict.pruned, 10);
    assert_eq!(first(&verify(rest, Vec::new(), Some(head))), (1, What::Missing { through: 10 }));
    assert_eq!(
        first(&verify(rest, vec![mark(&links, 9, 1)], Some(head))),
        (1, What::Missing { through: 10 })
    );
    let mut other = mark(&links, 10, 1);
    other.hash = Hash::ZERO;
    assert_eq!(first(&verify(rest, vec![other], Some(head))), (11, What::Edited));
}

#[test]
fn findings_are_counted_when_there_are_many() {
    let (mut links, head) = chain(100);
    for link in &mut links {
        link.entry.peer.clear();
    }
    let verdict = verify(&links, Vec::new(), Some(head));
    assert_eq!((verdict.findings.len(), verdict.more), (verify::FINDINGS, 80));
}

#[test]
fn a_checkpoint_comes_back_from_its_line() {
    let (links, head) = chain(3);
    let heads = vec![head, Head { chain: Chain::SYSTEM, count: 7, hash: links[0].hash }];
    let checkpoint = Checkpoint { at: at(5), controller: ControllerId(Uuid::from_u128(3)), heads };
    let signed = Signed { checkpoint, public_key: vec![1; 32], signature: vec![2; 64] };
    assert_eq!(Signed::of_line(&signed.to_line()), Ok(signed.clone()));
    assert_eq!(signed.checkpoint.mark_of(Chain::SYSTEM).map(|mark| mark.count), Some(7));
    let mut changed = signed.checkpoint.clone();
    changed.heads[1].count = 6;
    assert_ne!(changed.signed_bytes(), signed.checkpoint.signed_bytes());
    for wrong in ["", "{}", "[]", &signed.to_line().replace("checkpoint.1", "checkpoint.2")] {
        assert!(Signed::of_line(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_book_takes_what_is_rightly_signed_and_leaves_a_torn_end_out() {
    let (_, head) = chain(3);
    let signed = |count: i64, key: u8| {
        let heads = vec![Head { count, ..head }];
        let checkpoint = Checkpoint { at: at(count), controller: ControllerId(Uuid::from_u128(3)), heads };
        // These tests sign with a hash.
        let signature = ContentHash::of(&checkpoint.signed_bytes()).0.to_vec();
        Signed { checkpoint, public_key: vec![key; 32], signature }.to_line()
    };
    let is_signed = |_: &[u8], message: &[u8], signature: &[u8]| ContentHash::of(message).0 == signature;
    let read = |text: &str, key: Option<&[u8]>| {
        let mut book = Book::default();
        book.read(text, key, is_signed).map(|()| book)
    };
    let (one, two) = (signed(1, 7), signed(2, 7));
    let book = read(&format!("{one}\n\n{two}\n"), None).expect("both are right");
    assert_eq!((book.checkpoints, book.marks[&OURS].len(), book.keys.len()), (2, 2, 1));
    assert_eq!(read(&format!("{one}\n{}", &two[..40]), None).map(|book| book.checkpoints), Ok(1));
    assert_eq!(read(&format!("{one}\n{two}"), None).map(|book| book.checkpoints), Ok(2));
    let changed = one.replace("\"count\":1", "\"count\":9");
    assert_eq!(read(&format!("{two}\n{changed}\n"), None).expect_err("changed").line, 2);
    assert_eq!(read(&format!("{}\n{one}\n", &two[..40]), None).expect_err("torn within").line, 1);
    assert!(read(&format!("{one}\n"), Some(&[7; 32])).is_ok());
    assert!(read(&format!("{one}\n"), Some(&[8; 32])).is_err());
}

#[test]
fn a_link_comes_back_from_its_line() {
    let (links, _) = chain(3);
    for link in &links {
        assert_eq!(line::parse(&line::of(link)).as_ref(), Ok(link));
    }
    let mut odd = links[0].clone();
    odd.entry.details.insert(String::from("\u{1}\"ü"), String::from("a\nb"));
    odd.entry.chain = Chain::SYSTEM;
    assert_eq!(line::parse(&line::of(&odd)), Ok(odd));
    for wrong in ["", "{}", &line::of(&links[0]).replace("audit.1", "audit.2")] {
        assert!(line::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn stored_details_that_make_no_sense_are_kept_so_that_the_hash_tells() {
    let told = entry(4);
    assert_eq!(Entry::details_of(&told.details_text()), told.details);
    for odd in ["", "[]", "{\"a\":1}", "{"] {
        assert_ne!(Entry::details_of(odd), told.details);
    }
    let mut long = entry(1);
    long.set_detail(Detail::Scopes, "x".repeat(1000));
    assert_eq!(long.details["scopes"].len(), DETAIL_MAX);
}

proptest! {
    #[test]
    fn an_edit_is_found_where_it_is(length in 1_usize..40, place in any::<prop::sample::Index>(), which in any::<prop::sample::Index>()) {
        let (mut links, head) = chain(length as u128);
        let (place, edits) = (place.index(length), edits());
        edits[which.index(edits.len())](&mut links[place].entry);
        let verdict = verify(&links, Vec::new(), Some(head));
        prop_assert_eq!(first(&verdict), (number(place) + 1, What::Edited));
    }

    #[test]
    fn a_removed_entry_is_missed(length in 1_usize..40, place in any::<prop::sample::Index>()) {
        let (mut links, head) = chain(length as u128);
        let place = place.index(length);
        links.remove(place);
        let (seq, what) = first(&verify(&links, Vec::new(), Some(head)));
        let through = number(place) + 1;
        let expected =
            if place + 1 == length { What::Truncated { through } } else { What::Missing { through } };
        prop_assert_eq!((seq, what), (through, expected));
    }

    /// Positions counted anew behind the removed one: everything behind it stands in a wrong place.
    #[test]
    fn a_removed_entry_whose_gap_was_closed_is_found(length in 2_usize..40, place in any::<prop::sample::Index>()) {
        let (mut links, mut head) = chain(length as u128);
        let place = place.index(length - 1);
        links.remove(place);
        for link in &mut links[place..] {
            link.seq -= 1;
        }
        head.count -= 1;
        prop_assert_eq!(first(&verify(&links, Vec::new(), Some(head))).0, number(place) + 1);
    }

    #[test]
    fn entries_that_changed_places_are_found(length in 2_usize..40, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), with_hashes in any::<bool>()) {
        let (mut links, head) = chain(length as u128);
        let (a, b) = (a.index(length), b.index(length));
        prop_assume!(a != b);
        let (a, b) = (a.min(b), a.max(b));
        links.swap(a, b);
        let (seq_a, seq_b) = (links[b].seq, links[a].seq);
        (links[a].seq, links[b].seq) = (seq_a, seq_b);
        if !with_hashes {
            let (hash_a, hash_b) = (links[b].hash, links[a].hash);
            (links[a].hash, links[b].hash) = (hash_a, hash_b);
        }
        let verdict = verify(&links, Vec::new(), Some(head));
        prop_assert_eq!(first(&verdict), (seq_a, What::Moved { found_at: seq_b }));
    }

    #[test]
    fn an_entry_put_in_between_is_found(length in 1_usize..40, place in any::<prop::sample::Index>(), renumbered in any::<bool>()) {
        let (mut links, head) = chain(length as u128);
        let place = place.index(length);
        let mut forged = Head { chain: OURS, count: number(place), hash: if place == 0 { Hash::ZERO } else { links[place - 1].hash } };
        let link = forged.append(entry(999), &mut Vec::new());
        links.insert(place, link);
        if renumbered {
            for link in &mut links[place + 1..] {
                link.seq += 1;
            }
        }
        let (seq, _) = first(&verify(&links, Vec::new(), Some(head)));
        prop_assert!((number(place) + 1..=number(place) + 2).contains(&seq), "found at {}", seq);
    }

    #[test]
    fn a_cut_tail_is_found_by_any_later_checkpoint(length in 1_usize..40, kept in any::<prop::sample::Index>()) {
        let (links, _) = chain(length as u128);
        let kept = kept.index(length);
        let verdict = verify(&links[..kept], vec![mark(&links, length, 1)], None);
        prop_assert_eq!(first(&verdict), (number(kept) + 1, What::Truncated { through: number(length) }));
    }

    /// A file may hold anything in any order.
    #[test]
    fn nothing_that_is_read_makes_it_panic(seqs in prop::collection::vec(any::<i64>(), 0..30), counts in prop::collection::vec(any::<i64>(), 0..5)) {
        let (links, head) = chain(1);
        let forged: Vec<Link> = seqs.iter().map(|seq| Link { seq: *seq, ..links[0].clone() }).collect();
        let marks = counts.iter().map(|count| Mark { count: *count, hash: Hash::ZERO, at: at(1) }).collect();
        let verdict = verify(&forged, marks, Some(head));
        prop_assert!(verdict.is_whole() == (seqs == [1] && counts.iter().all(|count| *count <= 0)));
    }
}
