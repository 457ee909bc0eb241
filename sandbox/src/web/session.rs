//! Logging in and out, and knowing who asks.

use std::sync::Arc;

use axum::extract::{Form, FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Failure, Site};
use crate::account::Account;

const COOKIE: &str = "marketsquare_session";
/// Sixty days, in seconds: a browser profile stays logged in.
const MAX_AGE: u32 = 60 * 24 * 60 * 60;

/// The seller who asks. Pages without one lead to the login form, API calls are answered 401.
#[derive(Debug)]
pub(crate) struct Seller(pub(crate) Account);

/// The seller who asks, if anybody is logged in.
#[derive(Debug)]
pub(crate) struct Visitor(pub(crate) Option<Account>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Target {
    next: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Credentials {
    email: String,
    pass: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn form(
    State(site): State<Arc<Site>>,
    Visitor(seller): Visitor,
    Query(target): Query<Target>,
) -> Response {
    if seller.is_some() {
        return Redirect::to(local(&target.next)).into_response();
    }
    Html(site.assets.login("", local(&target.next), None)).into_response()
}

pub(crate) async fn log_in(
    State(site): State<Arc<Site>>,
    Form(Credentials { email, pass, next }): Form<Credentials>,
) -> Result<Response, Failure> {
    let mut world = site.world();
    let account =
        world.account(&email).filter(|account| account.password == pass).map(|account| account.email.clone());
    let Some(account) = account else {
        world.sign_ins.refused += 1;
        drop(world);
        let message = "The email address or the password is wrong.";
        let page = site.assets.login(&email, local(&next), Some(message));
        return Ok((StatusCode::UNAUTHORIZED, Html(page)).into_response());
    };
    world.sign_ins.accepted += 1;
    let mut secret = [0_u8; 32];
    site.ids.fill(&mut secret);
    let secret = hex::encode(secret);
    world.open_session(hash(&secret), account, site.now())?;
    let cookie = format!("{COOKIE}={secret}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax");
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local(&next))).into_response())
}

pub(crate) async fn log_out(State(site): State<Arc<Site>>, headers: HeaderMap) -> Result<Response, Failure> {
    if let Some(token) = token(&headers) {
        site.world().close_session(&token)?;
    }
    let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}

/// `next` when it is a path of this site, otherwise the start page.
fn local(next: &str) -> &str {
    if next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') {
        next
    } else {
        "/marketplace/"
    }
}

fn token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, secret)| hash(secret))
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}

// === impl Visitor ===

impl FromRequestParts<Arc<Site>> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Failure> {
        let Some(token) = token(&parts.headers) else { return Ok(Self(None)) };
        let mut world = site.world();
        let Some(account) = world.session(&token).cloned() else { return Ok(Self(None)) };
        if world.control.take_logout(&account.email) {
            world.close_session(&token)?;
            return Ok(Self(None));
        }
        Ok(Self(Some(account)))
    }
}

// === impl Seller ===

impl FromRequestParts<Arc<Site>> for Seller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        match Visitor::from_request_parts(parts, site).await {
            Ok(Visitor(Some(account))) => Ok(Self(account)),
            Ok(Visitor(None)) if parts.uri.path().starts_with("/api/") => {
                Err(Failure::new(StatusCode::UNAUTHORIZED, "Please log in.").into_response())
            }
            Ok(Visitor(None)) => {
                let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                let next: String = path.bytes().map(percent).collect();
                Err(Redirect::to(&format!("/login?next={next}")).into_response())
            }
            Err(failure) => Err(failure.into_response()),
        }
    }
}

/// A byte as it may stand in a query value.
fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
