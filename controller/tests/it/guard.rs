//! Attackers: throttles, codes raced over controllers, forged page tokens, ended sessions.

use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic_types::StatusExt;
use tradepost_controller::app::{App, Authority, Surroundings};
use tradepost_controller::background::Grace;
use tradepost_controller::config::Config;
use tradepost_controller::service::Reason;
use tradepost_proto::v1;
use tradepost_runtime::ids::Ids;
use tradepost_testkit::{TestDatabase, wait};
use v1::auth_service_client::AuthServiceClient;
use v1::event_service_client::EventServiceClient;
use v1::listing_service_client::ListingServiceClient;
use v1::session_service_client::SessionServiceClient;

use crate::person::{PASSWORD, code, fresh_address, from, login};
use crate::system::{DEADLINE, System, reason};

#[tokio::test]
async fn a_network_gets_five_sign_ins_a_minute_and_three_registrations_an_hour() -> Result<()> {
    let system = System::start().await?;
    let channel = system.user().await?.channel;
    let address = "203.0.113.9";
    let attempt = async |address: &str, name: &str| {
        let email = format!("{name}@example.com");
        reason(&login(&channel, address, &email, PASSWORD, "").await.expect_err("nobody is known"))
    };
    for n in 0..5 {
        assert_eq!(attempt(address, &format!("user{n}")).await, "SIGN_IN_FAILED");
    }
    let refused = login(&channel, address, "user9@example.com", PASSWORD, "").await.expect_err("the sixth");
    assert_eq!(reason(&refused), "TOO_MANY_TRIES");
    let delay = refused.get_details_retry_info().and_then(|info| info.retry_delay).context("a delay")?;
    assert!(delay <= Duration::from_secs(61), "{delay:?}");
    assert_eq!(attempt("203.0.113.10", "user9").await, "SIGN_IN_FAILED", "another network");
    // One customer's IPv6 addresses are one network.
    for n in 1..=5 {
        assert_eq!(attempt(&format!("2001:db8:0:1::{n}"), &format!("six{n}")).await, "SIGN_IN_FAILED");
    }
    assert_eq!(attempt("2001:db8:0:1:ffff::6", "six6").await, "TOO_MANY_TRIES");
    system.clock.advance(Duration::from_secs(60));
    assert_eq!(attempt(address, "user9").await, "SIGN_IN_FAILED", "a minute later");

    let register = async |n: u32| {
        let message = v1::RegisterRequest { email: format!("new{n}@example.com"), password: PASSWORD.into() };
        AuthServiceClient::new(channel.clone()).register(from(address, message)).await
    };
    for n in 0..3 {
        register(n).await?;
    }
    assert_eq!(reason(&register(3).await.expect_err("the fourth")), "TOO_MANY_TRIES");
    system.clock.advance(Duration::from_secs(3600));
    register(3).await?;
    Ok(())
}

#[tokio::test]
async fn wrong_passwords_delay_a_stranger_and_not_the_owner() -> Result<()> {
    let system = System::start().await?;
    let ada = system.person("ada").await?;
    let channel = &ada.channel;
    let guess = async |address: &str| {
        reason(&login(channel, address, "ada@example.com", "guess", "").await.expect_err("wrong"))
    };
    // Three tries, then ever longer delays, whatever the network's own allowance says.
    let stranger = "203.0.113.66";
    for _ in 0..4 {
        assert_eq!(guess(stranger).await, "SIGN_IN_FAILED");
    }
    assert_eq!(guess(stranger).await, "TOO_MANY_TRIES", "two seconds after the fourth");
    system.clock.advance(Duration::from_secs(60));
    assert_eq!(guess(stranger).await, "SIGN_IN_FAILED");
    assert_eq!(guess(stranger).await, "TOO_MANY_TRIES", "four seconds after the fifth");
    // A crowd of networks: the account itself slows down, for at most half a minute.
    for n in 0..12 {
        guess(&format!("198.18.0.{n}")).await;
    }
    assert_eq!(guess("198.18.1.1").await, "TOO_MANY_TRIES");
    // Where Ada has signed in from before, nothing of that is felt.
    login(channel, &ada.address, "ada@example.com", PASSWORD, "").await?;
    // And nobody holds her back elsewhere for long.
    for n in 0..12 {
        guess(&format!("198.18.2.{n}")).await;
    }
    system.clock.advance(Duration::from_secs(31));
    login(channel, "198.18.3.1", "ada@example.com", PASSWORD, "").await?;
    Ok(())
}

/// One code, raced over three controllers: one success, each time. The attack script does it ten thousand times.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_code_raced_over_three_controllers_works_once() -> Result<()> {
    let system = System::start_on(TestDatabase::empty_postgres().await?).await?;
    let ada = system.person("ada").await?;
    let (totp, recovery) = ada.set_up_factor(&system).await?;
    let mut controllers = Vec::new();
    for _ in 0..3 {
        let mut config =
            Config { data_dir: system.identity_folder().with_file_name("other"), ..Config::default() };
        config.identity_dir = Some(system.identity_folder());
        config.database.url = Some(system.database.url().to_owned().into());
        config.api.listen = ([127, 0, 0, 1], 0).into();
        config.agents.listen = ([127, 0, 0, 1], 0).into();
        let surroundings = Surroundings {
            clock: system.clock.clone(),
            ids: Ids::from_system(),
            grace: Grace::None,
            metrics: None,
            authority: Authority::Given,
        };
        controllers.push(App::build(config, surroundings).await?);
    }
    let bearer = controllers[0].people().look_up(&ada.tokens.access_token, None).await?;
    let mut codes: Vec<String> = recovery.into_iter().take(4).collect();
    for _ in 0..20 {
        // Fifteen minutes apart, so that the limit of tries is no help.
        system.clock.advance(Duration::from_secs(15 * 60));
        let code = codes.pop().unwrap_or_else(|| code(&totp, &system));
        let tries = controllers.iter().map(|app| app.people().step_up(&bearer, &code, "", ada.peer()));
        let ended = futures::future::join_all(tries).await;
        let used = ended.iter().filter(|end| end.is_ok()).count();
        assert_eq!(used, 1, "{ended:?}");
        let refused = ended.into_iter().filter_map(Result::err).map(|error| error.reason);
        assert!(refused.into_iter().all(|reason| reason == Reason::CodeInvalid));
    }
    Ok(())
}

/// Of refreshes raced with one token, at most the leeway's repeats succeed, and an old token ends all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_refresh_token_ends_what_it_would_open() -> Result<()> {
    let system = System::start_on(TestDatabase::empty_postgres().await?).await?;
    let mut ada = system.person("ada").await?;
    let stolen = ada.tokens.refresh_token.clone();
    let raced = futures::future::join_all((0..6).map(|_| ada.refresh(&stolen))).await;
    let fresh: Vec<_> = raced.into_iter().filter_map(Result::ok).collect();
    assert!(!fresh.is_empty());
    ada.tokens = ada.refresh(&fresh[0].refresh_token).await?;
    assert_eq!(reason(&ada.refresh(&stolen).await.expect_err("the thief comes")), "SESSION_ENDED");
    for tokens in fresh.iter().chain([&ada.tokens]) {
        assert_eq!(reason(&ada.refresh(&tokens.refresh_token).await.expect_err("ended")), "SESSION_ENDED");
    }
    assert_eq!(reason(&ada.who().await.expect_err("ended")), "TOKEN_INVALID");
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_with_its_session() -> Result<()> {
    let system = System::start().await?;
    let ada = system.person("ada").await?;
    let request = v1::StreamEventsRequest { after: 0, posting_id: String::new() };
    let mut stream =
        EventServiceClient::new(ada.channel.clone()).stream_events(ada.request(request)).await?.into_inner();
    let other = system.sign_in("ada@example.com", &fresh_address()).await?;
    let revoke = other.request(v1::RevokeSessionRequest { id: ada.tokens.session_id.clone() });
    SessionServiceClient::new(other.channel.clone()).revoke_session(revoke).await?;
    let ended = tokio::time::timeout(DEADLINE, async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => anyhow::bail!("it ended without a reason"),
                Err(status) => return Ok(status),
            }
        }
    })
    .await??;
    assert_eq!(reason(&ended), "TOKEN_INVALID");
    Ok(())
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_another_controller_as_well() -> Result<()> {
    let system = System::start_on(TestDatabase::empty_postgres().await?).await?;
    let ada = system.person("ada").await?;
    let token = ada.api_token(&["*"]).await?;
    let who = "/tradepost.v1.AuthService/WhoAmI";
    ada.may(&token, who, v1::WhoAmIRequest {}).await?;
    // The other one: its store writes to the same database, and this controller is told nothing.
    let mut config =
        Config { data_dir: system.identity_folder().with_file_name("other"), ..Config::default() };
    config.identity_dir = Some(system.identity_folder());
    config.database.url = Some(system.database.url().to_owned().into());
    let surroundings = Surroundings {
        clock: system.clock.clone(),
        authority: Authority::Given,
        ..Surroundings::of_system()
    };
    let people = tradepost_controller::app::open_people(
        &config,
        &surroundings,
        tradepost_controller::app::Opener::Command,
    )
    .await?;
    people.sign_out(&people.look_up(&token, None).await?).await?;
    wait::until("the token to be refused", DEADLINE, || async {
        match ada.may(&token, who, v1::WhoAmIRequest {}).await {
            Err(refused) if reason(&refused) == "TOKEN_INVALID" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    people.core.store.close().await;
    Ok(())
}

#[tokio::test]
async fn forged_page_tokens_open_nothing() -> Result<()> {
    let system = System::start().await?;
    let (ada, bob) = (system.person("ada").await?, system.person("bob").await?);
    for n in 0..3 {
        let owner = crate::system::User::with_token(ada.channel.clone(), ada.api_token(&["*"]).await?);
        owner.listing(&format!("Drill {n}")).await?;
    }
    let list = async |person: &crate::person::Person, page_token: String| {
        let request = person.request(v1::ListListingsRequest { page_size: 1, page_token });
        ListingServiceClient::new(person.channel.clone()).list_listings(request).await
    };
    let token = list(&ada, String::new()).await?.into_inner().next_page_token;
    assert_eq!(list(&bob, token.clone()).await?.into_inner().listings, [], "a place, and no authority");
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(&token)?)?;
    for forged in [
        plain.replace("\"i\"", "\"j\""),
        plain.replace("\"t\":", "\"t\":99999999999999999999"),
        plain.replace('}', ",\"workspace\":\"x\"}"),
        plain.replace("\"l\":\"", "\"l\":\"0"),
        "{}".into(),
        "[]".into(),
        "null".into(),
        "\u{0}".into(),
    ] {
        let refused = list(&ada, URL_SAFE_NO_PAD.encode(&forged)).await.expect_err(&forged);
        assert_eq!(reason(&refused), "INVALID_PAGE_TOKEN", "{forged}");
    }
    for forged in ["!", "AAAA", &"A".repeat(100_000), &token[1..]] {
        let refused = list(&ada, forged.to_owned()).await.expect_err("forged");
        assert_eq!(reason(&refused), "INVALID_PAGE_TOKEN");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_may_make_so_many_calls_a_minute() -> Result<()> {
    let system = System::start_with(
        TestDatabase::sqlite()?,
        Some(Box::new(|config| config.users.calls_per_minute = 30)),
    )
    .await?;
    let ada = system.person("ada").await?;
    let mut refused = None;
    for n in 0..60 {
        if let Err(status) = ada.who().await {
            refused = Some((n, status));
            break;
        }
    }
    let (calls, status) = refused.context("never refused")?;
    assert!((20..=30).contains(&calls), "{calls}");
    assert_eq!(reason(&status), "RATE_LIMITED");
    assert!(status.get_details_retry_info().is_some());
    system.clock.advance(Duration::from_secs(61));
    ada.who().await?;
    Ok(())
}

/// Somebody tries passwords from everywhere at once: who has no place is told so at once, with a time to come back, and the
/// calls of others are answered meanwhile. The attack script measures how quickly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuffed_credentials_are_turned_away_and_other_calls_go_on() -> Result<()> {
    let system = System::start().await?;
    let (ada, user) = (system.person("ada").await?, system.user().await?);
    user.listing("Drill").await?;
    let attack = futures::future::join_all((0..150).map(|n| {
        let (channel, email) = (user.channel.clone(), format!("victim{n}@example.com"));
        async move { login(&channel, &format!("198.18.7.{n}"), &email, PASSWORD, "").await }
    }));
    let others = async {
        let mut listings = ListingServiceClient::new(ada.channel.clone());
        for _ in 0..50 {
            listings.list_listings(user.request(v1::ListListingsRequest::default())).await?;
        }
        anyhow::Ok(())
    };
    let (attacked, others) = futures::join!(attack, others);
    others?;
    let mut reasons = std::collections::BTreeMap::new();
    for refused in attacked.into_iter().filter_map(Result::err) {
        let told = reason(&refused);
        if told == "TOO_BUSY" {
            assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
        }
        *reasons.entry(told).or_insert(0) += 1;
    }
    assert_eq!(reasons.values().sum::<u32>(), 150);
    assert!(reasons.contains_key("SIGN_IN_FAILED") && reasons.contains_key("TOO_BUSY"), "{reasons:?}");
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    login(&ada.channel, &fresh_address(), "ada@example.com", PASSWORD, "").await?;
    Ok(())
}
