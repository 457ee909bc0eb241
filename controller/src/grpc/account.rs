//! AccountService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_domain::account::{NewAccount, WhenAbsent};
use tradepost_domain::field::Violations;
use tradepost_proto::v1::account_service_server::AccountService;
use tradepost_proto::{convert, v1};

use super::{Api, caller, checked, status};
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
}
