//! AccountService.

use std::time::Duration;

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::account::{NewAccount, WhenAbsent};
use tradepost_domain::field::Violations;
use tradepost_domain::id::AccountId;
use tradepost_domain::pacing::{Pacing, Policy};
use tradepost_proto::convert::time;
use tradepost_proto::v1::account_service_server::AccountService;
use tradepost_proto::{convert, v1};

use super::{Api, caller, checked, status};
use crate::service::pacing::{Patch, Shown};
use crate::service::page::{Page, Query};

#[async_trait]
impl AccountService for Api {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.into_inner();
        let mut violations = Violations::new();
        let request_id = convert::request_id(&mut violations, &message.request_id);
        let new = NewAccount::try_from(message).map_err(|found| violations.0.extend(found.0)).ok();
        let (request_id, new) = checked(violations, request_id.zip(new))?;
        let account = self.core.create_account(&caller, &request_id, new).await.map_err(status::from)?;
        Ok(Response::new(v1::CreateAccountResponse { account: Some(account.into()) }))
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetAccountRequest { id } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let account = self.core.account(&caller, checked(violations, id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetAccountResponse { account: Some(account.into()) }))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ListAccountsRequest { page_size, page_token } = request.into_inner();
        let query = Query { size: page_size, token: page_token };
        let Page { rows, next_token } = self.core.accounts(&caller, &query).await.map_err(status::from)?;
        Ok(Response::new(v1::ListAccountsResponse {
            accounts: rows.into_iter().map(Into::into).collect(),
            next_page_token: next_token,
        }))
    }

    async fn bind_account(
        &self,
        request: Request<v1::BindAccountRequest>,
    ) -> Result<Response<v1::BindAccountResponse>, Status> {
        let caller = caller(&request)?;
        let v1::BindAccountRequest { id, agent_id, etag } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let agent = convert::id(&mut violations, "agent_id", &agent_id);
        let version = convert::version(&mut violations, &etag);
        let (id, agent) = checked(violations, id.zip(agent))?;
        let account = self.core.bind_account(&caller, id, agent, version).await.map_err(status::from)?;
        Ok(Response::new(v1::BindAccountResponse { account: Some(account.into()) }))
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Result<Response<v1::UpdateAccountResponse>, Status> {
        let caller = caller(&request)?;
        let v1::UpdateAccountRequest { id, etag, auto_republish } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "id", &id);
        let version = convert::version(&mut violations, &etag);
        let id = checked(violations, id)?;
        let when_absent =
            auto_republish.map(|again| if again { WhenAbsent::PostAgain } else { WhenAbsent::Ask });
        let account =
            self.core.update_account(&caller, id, when_absent, version).await.map_err(status::from)?;
        Ok(Response::new(v1::UpdateAccountResponse { account: Some(account.into()) }))
    }

    async fn login_account(
        &self,
        request: Request<v1::LoginAccountRequest>,
    ) -> Result<Response<v1::LoginAccountResponse>, Status> {
        let caller = caller(&request)?;
        let v1::LoginAccountRequest { request_id, id } = request.into_inner();
        let mut violations = Violations::new();
        let request_id = convert::request_id(&mut violations, &request_id);
        let id = convert::id(&mut violations, "id", &id);
        let (request_id, id) = checked(violations, request_id.zip(id))?;
        let job = self.core.login_account(&caller, &request_id, id).await.map_err(status::from)?;
        Ok(Response::new(v1::LoginAccountResponse { job_id: job.to_string() }))
    }

    async fn get_pacing(
        &self,
        request: Request<v1::GetPacingRequest>,
    ) -> Result<Response<v1::GetPacingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::GetPacingRequest { account_id: id } = request.into_inner();
        let shown = self.core.pacing(&caller, account_id("account_id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::GetPacingResponse { pacing: Some(wire_pacing(shown)) }))
    }

    async fn update_pacing(
        &self,
        request: Request<v1::UpdatePacingRequest>,
    ) -> Result<Response<v1::UpdatePacingResponse>, Status> {
        let caller = caller(&request)?;
        let v1::UpdatePacingRequest { account_id: id, set, reset } = request.into_inner();
        let mut violations = Violations::new();
        let id = convert::id(&mut violations, "account_id", &id);
        let set =
            Policy::try_from(set.unwrap_or_default()).map_err(|found| violations.0.extend(found.0)).ok();
        let (id, set) = checked(violations, id.zip(set))?;
        let changed = self.core.change_pacing(&caller, id, Patch { reset, set }).await;
        Ok(Response::new(v1::UpdatePacingResponse {
            pacing: Some(wire_pacing(changed.map_err(status::from)?)),
        }))
    }

    async fn pause_account(
        &self,
        request: Request<v1::PauseAccountRequest>,
    ) -> Result<Response<v1::PauseAccountResponse>, Status> {
        let caller = caller(&request)?;
        let v1::PauseAccountRequest { id } = request.into_inner();
        let paused = self.core.pause_account(&caller, account_id("id", &id)?).await.map_err(status::from)?;
        Ok(Response::new(v1::PauseAccountResponse { pacing: Some(wire_pacing(paused)) }))
    }

    async fn resume_account(
        &self,
        request: Request<v1::ResumeAccountRequest>,
    ) -> Result<Response<v1::ResumeAccountResponse>, Status> {
        let caller = caller(&request)?;
        let v1::ResumeAccountRequest { id, end_cool_down } = request.into_inner();
        let resumed = self.core.resume_account(&caller, account_id("id", &id)?, end_cool_down).await;
        Ok(Response::new(v1::ResumeAccountResponse {
            pacing: Some(wire_pacing(resumed.map_err(status::from)?)),
        }))
    }

    async fn get_credential(
        &self,
        request: Request<v1::GetCredentialRequest>,
    ) -> Result<Response<v1::GetCredentialResponse>, Status> {
        self.credential_of(request).await
    }

    async fn set_credential(
        &self,
        request: Request<v1::SetCredentialRequest>,
    ) -> Result<Response<v1::SetCredentialResponse>, Status> {
        self.store_credential(request).await
    }

    async fn remove_credential(
        &self,
        request: Request<v1::RemoveCredentialRequest>,
    ) -> Result<Response<v1::RemoveCredentialResponse>, Status> {
        self.drop_credential(request).await
    }
}

fn account_id(field: &str, text: &str) -> Result<AccountId, Status> {
    let mut violations = Violations::new();
    let id = convert::id(&mut violations, field, text);
    checked(violations, id)
}

fn wire_pacing(shown: Shown) -> v1::Pacing {
    let Shown { pacing, rules, wait, now } = shown;
    let Pacing { account, own, paused_at, cool_down, uses, .. } = pacing;
    let cool_down = cool_down.filter(|cool_down| cool_down.until > now);
    let within = |span: Duration| uses.iter().filter(|at| now.since(**at) < span).count();
    let count = |span| u32::try_from(within(span)).unwrap_or(u32::MAX);
    let zone = rules.time_zone.clone();
    v1::Pacing {
        account_id: account.to_string(),
        rules: Some(rules.into()),
        own: Some(own.into()),
        paused_at: paused_at.map(time::to_wire),
        cool_down_until: cool_down.map(|cool_down| time::to_wire(cool_down.until)),
        cool_down_class: cool_down.map_or_else(String::new, |cool_down| cool_down.class.name().to_owned()),
        next_at: wait.as_ref().map(|wait| time::to_wire(wait.until)),
        waiting_for: wait.map_or_else(String::new, |wait| wait.sentence(&zone, now)),
        used_last_hour: count(Duration::from_secs(3_600)),
        used_last_day: count(Duration::from_secs(86_400)),
    }
}
