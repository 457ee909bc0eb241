//! Keeps a session going: hands out its access token, and refreshes it in time.
//!
//! A refresh token works once. Programs that share a session hold its lock while they refresh, and look first whether
//! another one has done so meanwhile.

use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Mutex;
use tonic::Request;
use tonic::transport::Channel;
use tradepost_proto::v1;
use tradepost_proto::v1::auth_service_client::AuthServiceClient;
use tradepost_runtime::clock::{Clock, SystemClock};

use super::{convert, status};
use crate::error::Result;
use crate::vault::{Secret, SessionSecrets, Vault};

/// An access token with less than this left is not used any more.
const MARGIN: Duration = Duration::from_secs(30);

/// The secrets of one session.
pub(super) struct Keeper {
    vault: Vault,
    channel: Channel,
    timeout: Duration,
    secrets: Mutex<Option<SessionSecrets>>,
}

impl Keeper {
    pub(super) fn new(vault: Vault, channel: Channel, timeout: Duration) -> Self {
        Self { vault, channel, timeout, secrets: Mutex::new(None) }
    }

    /// An access token that works for a while.
    pub(super) async fn access(&self, origin: &status::Origin) -> Result<SecretString> {
        let mut secrets = self.secrets.lock().await;
        if secrets.is_none() {
            *secrets = self.load()?;
        }
        if let Some(fresh) = secrets.as_ref().filter(|secrets| is_fresh(secrets)) {
            return Ok(SecretString::from(fresh.access_token.as_str()));
        }
        let fresh = self.renew(secrets.as_ref(), origin).await?;
        let access = SecretString::from(fresh.access_token.as_str());
        *secrets = Some(fresh);
        Ok(access)
    }

    /// Exchanges the tokens now: the controller refused the access token.
    pub(super) async fn refresh(&self, origin: &status::Origin) -> Result<()> {
        let mut secrets = self.secrets.lock().await;
        let fresh = self.renew(secrets.as_ref(), origin).await?;
        *secrets = Some(fresh);
        Ok(())
    }

    async fn renew(
        &self,
        before: Option<&SessionSecrets>,
        origin: &status::Origin,
    ) -> Result<SessionSecrets> {
        let _held = self.vault.hold()?;
        let Some(kept) = self.load()? else {
            return Err(super::Error::new(super::Exit::Denied, "the context holds no session any more"));
        };
        let renewed_by_another = before.is_none_or(|before| before.refresh_token != kept.refresh_token);
        if renewed_by_another && is_fresh(&kept) {
            return Ok(kept);
        }
        let mut request = Request::new(v1::RefreshSessionRequest { refresh_token: kept.refresh_token });
        request.set_timeout(self.timeout);
        let answer = AuthServiceClient::new(self.channel.clone()).refresh_session(request).await;
        let answer = answer.map_err(|status| status::error(origin, &status))?.into_inner();
        let fresh = convert::session_secrets(convert::present(answer.tokens, "tokens")?)?;
        self.vault.save(&Secret::Session(fresh.clone()))?;
        Ok(fresh)
    }

    fn load(&self) -> Result<Option<SessionSecrets>> {
        Ok(match self.vault.load()? {
            Secret::Session(secrets) => Some(secrets),
            Secret::Token(_) => None,
        })
    }
}

fn is_fresh(secrets: &SessionSecrets) -> bool {
    let margin = i64::try_from(MARGIN.as_micros()).unwrap_or(i64::MAX);
    secrets.access_expires_us.saturating_sub(margin) > SystemClock.now().as_micros()
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}
