//! What a session does and refuses to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tradepost_domain::failure::{Failure, FailureClass};
use tradepost_domain::listing::Condition;
use tradepost_domain::money::Money;
use tradepost_recipe::catalogue::Site;
use tradepost_recipe::page::{Control, FormError, PageError, Row};
use tradepost_recipe::session::{Clicked, Confirmation, Observer, Phase, Session, StepEvent};
use tradepost_recipe::values::{Input, Listing};

use crate::fake::FakePage;

const PACK: &str = "
site: demo
title: Demo
paths: {form: /new, own: /own}
categories: {known: [Home > Chairs]}
limits: {title_max: 20, description_max: 100, photos_max: 2}
interruptions:
  - {class: needs_login, when: {heading: Log in}, message: Sign in first.}
  - {class: limit_reached, when: {heading: Limit reached}, message: Wait until tomorrow.}
";
const CHECK: &str = "
site: demo
job: login_check
summary: Looks.
steps:
  - {name: Open, goto: '{{pack.paths.own}}', expect: {heading: Own items}}
signed_in: {when: {heading: Own items}, account: {css: header b}}
";
const PUBLISH: &str = "
site: demo
job: publish
summary: Posts.
steps:
  - {name: Open the form, goto: '{{pack.paths.form}}', expect: {heading: New item}}
  - {name: Enter the title, fill: {field: title, target: [{label: Title}, {css: 'input[name=title]'}], value: '{{listing.title}}'}}
  - {name: Enter the price, fill: {field: price, target: {label: Price}, value: '{{listing.price}}', compare: price}}
fence: {name: Publish, target: {role: button, name: Publish}, blocked: [{visible: {css: .limit}}]}
confirm:
  proofs:
    - {strategy: url, when: {url: '^/item/(?<id>\\d+)$'}}
  rejected:
    - {heading: New item, visible: {css: '[aria-invalid=true]'}}
  look:
    - {heading: Own items}
published:
  - {field: title, value: '{{listing.title}}', target: {css: h1}}
";
const SCAN: &str = "
site: demo
job: scan
summary: Lists.
steps: []
lists:
  - {name: all, goto: '{{pack.paths.own}}', expect: {heading: Own items}, rows: {role: row}, columns: [{name: id}, {name: title}]}
";
const BUTTON: &str = "the button \"Publish\"";
const TITLE: &str = "the field labelled \"Title\"";
const PRICE: &str = "the field labelled \"Price\"";

#[derive(Default)]
struct Told(Mutex<Vec<StepEvent>>);

impl Observer for Told {
    fn observe(&self, event: StepEvent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

struct Stage {
    page: Arc<FakePage>,
    told: Arc<Told>,
}

impl Stage {
    /// A form with title, price and an enabled button; one older own item.
    fn set() -> Self {
        let page = FakePage::default();
        {
            let mut shown = page.state();
            for (url, heading) in
                [("https://demo.test/new", "New item"), ("https://demo.test/own", "Own items")]
            {
                shown.headings.insert(url.to_owned(), heading.to_owned());
            }
            for key in [TITLE, PRICE, BUTTON] {
                let control = Control { enabled: true, count: 1, ..Control::default() };
                shown.controls.insert(key.to_owned(), control);
            }
            shown.rows.push(row("1", "Old chair"));
        }
        Self { page: Arc::new(page), told: Arc::default() }
    }

    fn session(&self) -> Session {
        self.session_of("Oak chair").expect("the listing fits")
    }

    fn session_of(&self, title: &str) -> Result<Session, Failure> {
        let site = Site::parse(PACK, &[CHECK, PUBLISH, SCAN]).unwrap_or_else(|error| panic!("{error}"));
        let listing = Listing {
            title: title.to_owned(),
            description: String::new(),
            price: Money::parse("25", "EUR".parse().expect("known")).expect("valid"),
            category: "chairs".to_owned(),
            condition: Condition::Good,
            location: "Berlin".to_owned(),
            sku: String::new(),
            attributes: BTreeMap::new(),
            photos: Vec::new(),
        };
        let input = Input {
            site_url: "https://demo.test/".parse().expect("a URL"),
            sign_in_name: Some("Maya".to_owned()),
            listing: Some(listing),
        };
        Session::new(Arc::new(site), input, self.page.clone(), self.told.clone())
    }

    async fn armed(&self) -> Session {
        let mut session = self.session();
        session.baseline().await.expect("a baseline");
        session.prepare().await.expect("a filled form");
        session.revalidate().await.expect("a form as filled");
        session
    }

    fn presses(&self) -> usize {
        self.page.state().calls.iter().filter(|call| call.starts_with("press")).count()
    }
}

fn row(id: &str, title: &str) -> Row {
    Row::from([("id".to_owned(), id.to_owned()), ("title".to_owned(), title.to_owned())])
}

#[tokio::test]
async fn a_proof_in_the_address_confirms_and_the_click_happens_once() {
    let stage = Stage::set();
    let mut session = stage.armed().await;
    stage.page.state().press = Some(Ok(("Oak chair".into(), "https://demo.test/item/77".into())));
    assert_eq!(session.commit().await, Clicked::Sent);
    let Confirmation::Published { item_id, strategy, .. } = session.confirm().await else {
        panic!("published")
    };
    assert_eq!((item_id.as_str(), strategy.as_str()), ("77", "url"));
    let Clicked::NotClicked(failure) = session.commit().await else { panic!("a second click") };
    assert_eq!(failure.class, FailureClass::Internal);
    assert_eq!(stage.presses(), 1);

    let told = stage.told.0.lock().expect("not poisoned");
    let phases: Vec<Phase> = told
        .iter()
        .filter_map(|event| match event {
            StepEvent::Started(step) => Some(step.phase),
            StepEvent::Finished { .. } => None,
        })
        .collect();
    let expected = [Phase::Baseline, Phase::Prepare, Phase::Prepare, Phase::Prepare, Phase::Prepare];
    assert_eq!(phases[..5], expected);
    assert!(
        phases.ends_with(&[Phase::Revalidate, Phase::Commit, Phase::Confirm, Phase::Commit]),
        "{phases:?}"
    );
}

#[tokio::test]
async fn an_older_item_in_the_address_is_no_proof() {
    let stage = Stage::set();
    let mut session = stage.armed().await;
    stage.page.state().press = Some(Ok(("Old chair".into(), "https://demo.test/item/1".into())));
    session.commit().await;
    assert!(matches!(session.confirm().await, Confirmation::Uncertain(_)));
}

#[tokio::test]
async fn the_difference_decides_only_when_one_new_item_is_this_listing() {
    for (new, published) in [
        (vec![row("2", "Oak chair")], true),
        (vec![row("2", "Another thing")], false),
        (vec![row("2", "Oak chair"), row("3", "Oak chair")], false),
        (vec![], false),
    ] {
        let stage = Stage::set();
        let mut session = stage.armed().await;
        {
            let mut shown = stage.page.state();
            shown.press = Some(Ok(("Own items".into(), "https://demo.test/own".into())));
            shown.rows.extend(new.clone());
        }
        session.commit().await;
        let confirmation = session.confirm().await;
        assert_eq!(
            matches!(confirmation, Confirmation::Published { .. }),
            published,
            "{new:?}: {confirmation:?}"
        );
        assert_eq!(
            matches!(confirmation, Confirmation::Uncertain(_)),
            !published,
            "{new:?}: {confirmation:?}"
        );
        assert_eq!(stage.presses(), 1);
    }
}

#[tokio::test]
async fn a_refused_form_and_a_limit_are_definite_negatives() {
    let stage = Stage::set();
    let mut session = stage.armed().await;
    {
        let mut shown = stage.page.state();
        shown.controls.insert("the element [aria-invalid=true]".into(), Control::default());
        shown.errors = vec![FormError { field: Some(0), label: "Title".into(), text: "Too short.".into() }];
    }
    session.commit().await;
    let Confirmation::Rejected(failure) = session.confirm().await else { panic!("rejected") };
    assert_eq!((failure.class, failure.field.as_deref()), (FailureClass::ListingRejected, Some("title")));
    assert!(failure.message.contains("title: Too short."), "{failure}");

    let stage = Stage::set();
    let mut session = stage.armed().await;
    stage.page.state().press = Some(Ok(("Limit reached".into(), "https://demo.test/limit".into())));
    session.commit().await;
    let Confirmation::Rejected(failure) = session.confirm().await else { panic!("rejected") };
    assert_eq!(failure.class, FailureClass::LimitReached);

    // A limit text beside the form, without any field that complains.
    let stage = Stage::set();
    let mut session = stage.armed().await;
    {
        let mut shown = stage.page.state();
        shown.controls.insert("the element [aria-invalid=true]".into(), Control::default());
        let value = "You can post again tomorrow.".to_owned();
        shown.controls.insert("the element .limit".into(), Control { value, ..Control::default() });
    }
    session.commit().await;
    let Confirmation::Rejected(failure) = session.confirm().await else { panic!("rejected") };
    assert_eq!(failure.class, FailureClass::LimitReached);
    assert!(failure.message.contains("post again tomorrow"), "{failure}");
}

#[tokio::test]
async fn a_proven_miss_is_not_clicked() {
    let stage = Stage::set();
    let mut session = stage.armed().await;
    let missing = PageError::Missing { looked_for: "the button".into(), at: "the form".into() };
    stage.page.state().press = Some(Err(missing));
    let Clicked::NotClicked(failure) = session.commit().await else { panic!("nothing was clicked") };
    assert_eq!(failure.class, FailureClass::ElementMissing);
}

#[tokio::test]
async fn a_field_that_changes_before_the_click_stops_it() {
    let stage = Stage::set();
    let mut session = stage.session();
    let prepared = session.prepare().await.expect("a filled form");
    assert_eq!(prepared.fields, [("title".into(), "Oak chair".into()), ("price".into(), "25".into())]);
    if let Some(control) = stage.page.state().controls.get_mut(PRICE) {
        control.value = "2500".into();
    }
    let failure = session.revalidate().await.expect_err("the price changed");
    assert_eq!((failure.class, failure.field.as_deref()), (FailureClass::ValueNotCommitted, Some("price")));

    if let Some(control) = stage.page.state().controls.get_mut(BUTTON) {
        control.enabled = false;
    }
    stage.page.state().errors =
        vec![FormError { field: None, label: String::new(), text: "Add a photo.".into() }];
    let failure = session.revalidate().await.expect_err("the button is disabled");
    assert_eq!(failure.class, FailureClass::ListingRejected);
    assert!(failure.message.contains("Add a photo."));
    assert_eq!(stage.presses(), 0);
}

#[tokio::test]
async fn values_the_site_changes_fail_and_fallbacks_are_reported() {
    let stage = Stage::set();
    stage.page.state().rewrites.insert(TITLE.into(), "OAK CHAIR!!".into());
    let failure = stage.session().prepare().await.expect_err("another title");
    assert_eq!((failure.class, failure.field.as_deref()), (FailureClass::ValueNotCommitted, Some("title")));

    let stage = Stage::set();
    stage.page.state().rewrites.insert(PRICE.into(), "£25".into());
    let failure = stage.session().prepare().await.expect_err("another currency");
    assert!(failure.message.contains("the listing is in EUR"), "{failure}");

    let stage = Stage::set();
    {
        let mut shown = stage.page.state();
        let title = shown.controls.remove(TITLE).expect("there");
        shown.controls.insert("the element input[name=title]".into(), title);
        shown.rewrites.insert(PRICE.into(), "25,00 €".into());
    }
    stage.session().prepare().await.expect("the fallback and the site's own style of prices");
    let told = stage.told.0.lock().expect("not poisoned");
    let noted =
        |event: &StepEvent| matches!(event, StepEvent::Finished { note, .. } if note.contains("fallback"));
    assert!(told.iter().any(noted));
}

#[tokio::test]
async fn sign_in_and_the_wrong_account_stop_everything() {
    let stage = Stage::set();
    stage.page.state().headings.insert("https://demo.test/own".into(), "Log in".into());
    let failure = stage.session().login_check().await.expect_err("nobody is signed in");
    assert_eq!((failure.class, failure.message.as_str()), (FailureClass::NeedsLogin, "Sign in first."));

    let stage = Stage::set();
    let other = Control { value: "Jordan".into(), ..Control::default() };
    stage.page.state().controls.insert("the element header b".into(), other);
    let failure = stage.session().login_check().await.expect_err("another account");
    assert_eq!(failure.class, FailureClass::WrongAccount);
    if let Some(control) = stage.page.state().controls.get_mut("the element header b") {
        control.value = " MAYA ".into();
    }
    assert!(stage.session().login_check().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_page_that_hangs_ends_at_the_steps_deadline() {
    let stage = Stage::set();
    stage.page.state().hangs = true;
    let failure = stage.session().prepare().await.expect_err("the page hangs");
    assert_eq!((failure.class, failure.step.as_str()), (FailureClass::TimedOut, "Open the form"));
    assert!(failure.message.contains("30 s"), "{failure}");
}

#[test]
fn a_listing_the_site_cannot_take_is_refused_before_any_page() {
    let stage = Stage::set();
    let failure = stage.session_of(&"x".repeat(21)).err().expect("too long");
    assert_eq!((failure.class, failure.field.as_deref()), (FailureClass::ListingRejected, Some("title")));
    assert!(failure.message.contains("21 characters; at most 20 fit"), "{failure}");
}

#[test]
fn every_phase_can_run_as_a_task_of_its_own() {
    fn send<T: Send>(_: &T) {}
    let stage = Stage::set();
    let mut session = stage.session();
    send(&session.prepare());
    send(&session.confirm());
    send(&session.scan());
    send(&session.read_back("https://demo.test/item/1"));
}
