//! Accounts.

use tradepost_domain::account::{Account, NewAccount, Site, WhenAbsent};
use tradepost_domain::field::Violations;
use tradepost_domain::id::AccountId;
use tradepost_domain::money::Currency;
use url::Url;

use super::{etag, id, text, time};
use crate::v1;

/// What an agent needs of an account, as a dispatch carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteAccount {
    /// The account; names its Chrome profile.
    pub id: AccountId,
    /// What the seller calls it.
    pub name: String,
    /// Which site.
    pub site: Site,
    /// Where the site is; navigation never leaves this origin.
    pub site_url: Url,
    /// The name that the site shows when the right account is signed in.
    pub sign_in_name: Option<String>,
    /// The currency of its listings.
    pub currency: Currency,
}

impl From<Account> for v1::Account {
    fn from(account: Account) -> Self {
        let Account {
            id,
            workspace: _,
            name,
            site,
            site_url,
            sign_in_name,
            currency,
            agent,
            when_absent,
            created_at,
            version,
        } = account;
        Self {
            id: id.to_string(),
            name,
            site: site.to_string(),
            site_url: site_url.to_string(),
            sign_in_name: sign_in_name.unwrap_or_default(),
            currency_code: currency.to_string(),
            agent_id: text(agent),
            created_at: Some(time::to_wire(created_at)),
            etag: etag(version),
            auto_republish: when_absent == WhenAbsent::PostAgain,
        }
    }
}

impl TryFrom<v1::CreateAccountRequest> for NewAccount {
    type Error = Violations;

    /// Everything but the request's own name (see [`super::request_id`]).
    fn try_from(message: v1::CreateAccountRequest) -> Result<Self, Violations> {
        let v1::CreateAccountRequest {
            request_id: _,
            name,
            site,
            site_url,
            sign_in_name,
            currency_code,
            agent_id,
        } = message;
        Self::parse(&name, &site, &site_url, &sign_in_name, &currency_code, &agent_id).map_err(
            |mut violations| {
                for violation in &mut violations.0 {
                    if violation.field == "currency" {
                        "currency_code".clone_into(&mut violation.field);
                    }
                }
                violations
            },
        )
    }
}

impl From<Account> for v1::SiteAccount {
    fn from(account: Account) -> Self {
        let Account {
            id,
            workspace: _,
            name,
            site,
            site_url,
            sign_in_name,
            currency,
            agent: _,
            when_absent: _,
            created_at: _,
            version: _,
        } = account;
        Self {
            id: id.to_string(),
            name,
            site: site.to_string(),
            site_url: site_url.to_string(),
            sign_in_name: sign_in_name.unwrap_or_default(),
            currency_code: currency.to_string(),
        }
    }
}

impl TryFrom<v1::SiteAccount> for SiteAccount {
    type Error = Violations;

    fn try_from(message: v1::SiteAccount) -> Result<Self, Violations> {
        let v1::SiteAccount { id: account, name, site, site_url, sign_in_name, currency_code } = message;
        let mut violations = Violations::new();
        let account = id::<AccountId>(&mut violations, "account.id", &account);
        let site = violations.check("account.site", Site::parse(&site));
        let site_url = violations.check("account.site_url", Url::parse(&site_url));
        let currency = violations.check("account.currency_code", currency_code.parse::<Currency>());
        violations.into_result(|| {
            Some(Self {
                id: account?,
                name,
                site: site?,
                site_url: site_url?,
                sign_in_name: Some(sign_in_name).filter(|shown| !shown.is_empty()),
                currency: currency?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use tradepost_domain::id::{AgentId, Version, WorkspaceId};
    use tradepost_domain::time::Timestamp;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_agent_receives_the_account_as_it_is_stored() {
        let account = Account {
            id: AccountId(Uuid::from_u128(1)),
            workspace: WorkspaceId(Uuid::from_u128(2)),
            name: "shop".into(),
            site: Site::parse("sandbox").expect("valid"),
            site_url: Url::parse("http://127.0.0.1:8090/").expect("valid"),
            sign_in_name: None,
            currency: "EUR".parse().expect("known"),
            agent: Some(AgentId(Uuid::from_u128(3))),
            when_absent: WhenAbsent::Ask,
            created_at: Timestamp::EPOCH,
            version: Version(4),
        };
        let received = SiteAccount::try_from(v1::SiteAccount::from(account.clone())).expect("valid");
        assert_eq!(
            (received.id, received.site_url, received.sign_in_name),
            (account.id, account.site_url.clone(), None)
        );
        let shown = v1::Account::from(account);
        assert_eq!((shown.etag.as_str(), shown.agent_id.is_empty()), ("4", false));
    }

    #[test]
    fn a_new_account_lists_every_violation_by_its_wire_name() {
        let violations = NewAccount::try_from(v1::CreateAccountRequest {
            site_url: "ftp://x".into(),
            currency_code: "EURO".into(),
            ..Default::default()
        })
        .expect_err("nothing is right");
        let fields: Vec<_> = violations.0.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["name", "site", "site_url", "currency_code"]);
    }
}
