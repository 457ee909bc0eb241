//! SecondFactorService.

use tonic::{Request, Response, Status, async_trait};
use tradepost_proto::v1;
use tradepost_proto::v1::second_factor_service_server::SecondFactorService;

use super::{Api, bearer, status};
use crate::service::people::factor::Seed;

#[async_trait]
impl SecondFactorService for Api {
    async fn begin_second_factor(
        &self,
        request: Request<v1::BeginSecondFactorRequest>,
    ) -> Result<Response<v1::BeginSecondFactorResponse>, Status> {
        let begun = self.people.begin_factor(&bearer(&request)?).await;
        let Seed { secret, uri } = begun.map_err(status::from)?;
        Ok(Response::new(v1::BeginSecondFactorResponse { secret, uri }))
    }

    async fn confirm_second_factor(
        &self,
        request: Request<v1::ConfirmSecondFactorRequest>,
    ) -> Result<Response<v1::ConfirmSecondFactorResponse>, Status> {
        let bearer = bearer(&request)?;
        let v1::ConfirmSecondFactorRequest { code } = request.into_inner();
        let recovery_codes = self.people.confirm_factor(&bearer, &code).await.map_err(status::from)?;
        Ok(Response::new(v1::ConfirmSecondFactorResponse { recovery_codes }))
    }

    async fn replace_recovery_codes(
        &self,
        request: Request<v1::ReplaceRecoveryCodesRequest>,
    ) -> Result<Response<v1::ReplaceRecoveryCodesResponse>, Status> {
        let replaced = self.people.replace_recovery_codes(&bearer(&request)?).await;
        let recovery_codes = replaced.map_err(status::from)?;
        Ok(Response::new(v1::ReplaceRecoveryCodesResponse { recovery_codes }))
    }

    async fn remove_second_factor(
        &self,
        request: Request<v1::RemoveSecondFactorRequest>,
    ) -> Result<Response<v1::RemoveSecondFactorResponse>, Status> {
        self.people.remove_factor(&bearer(&request)?).await.map_err(status::from)?;
        Ok(Response::new(v1::RemoveSecondFactorResponse {}))
    }
}
