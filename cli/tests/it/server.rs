//! A controller at the process edge: real TLS and gRPC, answers from a script.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::Stream;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};
use tradepost_proto::v1;
use tradepost_runtime::tasks::Tasks;
use tradepost_runtime::tls::{self, ClientAuth, Protocols, ReloadingServerConfig, TlsListener};

mod work;

pub(crate) const TOKEN: &str = "tp_right_token";
pub(crate) const POSTING: &str = "0190d3a1-0000-7000-8000-0000000000aa";
pub(crate) const JOB: &str = "0190d3a1-0000-7000-8000-0000000000bb";
pub(crate) const ACCOUNT: &str = "a1b2c3d4-0000-7000-8000-000000000001";
pub(crate) const AGENT: &str = "a9e47000-0000-7000-8000-000000000001";
pub(crate) const WORKSPACE: &str = "50000000-0000-7000-8000-000000000001";
pub(crate) const LISTING: &str = "c0ffee00-0000-7000-8000-000000000001";

/// What the controller knows.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// The key that the account's agent has told.
    pub(crate) credential_key: Option<v1::CredentialKey>,
    /// Generations and ciphertexts that were set.
    pub(crate) sealed: Vec<(i64, Vec<u8>)>,
    pub(crate) posting_state: i32,
    pub(crate) job_state: i32,
    /// How a published item was found when not by its own run; nothing was read back then.
    pub(crate) found_by: String,
    pub(crate) failure: Option<v1::Failure>,
    pub(crate) steps: Vec<v1::Step>,
    /// Listings as they were sent.
    pub(crate) created: Vec<v1::ListingContent>,
    /// Names and sizes of uploads.
    pub(crate) uploaded: Vec<(String, usize)>,
    /// The cursors of the streams that were opened.
    pub(crate) cursors: Vec<i64>,
    /// Changes of pacing as they were asked for, and what was done about dead letters.
    pub(crate) asked: Vec<String>,
    /// The policy that was sent last.
    pub(crate) policy: v1::PacingPolicy,
    /// Calls of a method yet to be answered with UNAVAILABLE.
    pub(crate) unavailable: u32,
}

/// A running controller.
pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    fake: Fake,
    tasks: Tasks,
}

#[derive(Clone)]
struct Fake {
    script: Arc<Mutex<Script>>,
    /// Newest event, and how often all streams were cut.
    feed: watch::Sender<(i64, u32)>,
    opened: watch::Sender<usize>,
}

/// An authority and its certificate in PEM.
pub(crate) fn authority() -> (CertifiedIssuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("valid");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    let pem = authority.pem();
    (authority, pem)
}

impl Controller {
    pub(crate) async fn start() -> Self {
        let (authority, ca_pem) = authority();
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("valid");
        let leaf = leaf.signed_by(&key, &authority).expect("signed");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config =
            tls::server_config(vec![leaf.der().clone()], key, Protocols::Tls12AndLater, ClientAuth::None)
                .expect("a configuration");
        let listener =
            TlsListener::bind("127.0.0.1:0", ReloadingServerConfig::new(config)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let tasks = Tasks::new();
        let fake =
            Fake { script: Arc::default(), feed: watch::Sender::new((0, 0)), opened: watch::Sender::new(0) };
        fake.script().posting_state = v1::PostingState::Running.into();
        fake.script().job_state = v1::JobState::Running.into();
        let incoming = listener.accept(&tasks);
        let router = tonic::transport::Server::builder()
            .add_service(v1::auth_service_server::AuthServiceServer::new(fake.clone()))
            .add_service(v1::agent_service_server::AgentServiceServer::new(fake.clone()))
            .add_service(v1::account_service_server::AccountServiceServer::new(fake.clone()))
            .add_service(v1::listing_service_server::ListingServiceServer::new(fake.clone()))
            .add_service(v1::photo_service_server::PhotoServiceServer::new(fake.clone()))
            .add_service(v1::posting_service_server::PostingServiceServer::new(fake.clone()))
            .add_service(v1::job_service_server::JobServiceServer::new(fake.clone()))
            .add_service(v1::event_service_server::EventServiceServer::new(fake.clone()));
        tasks.spawn("server", router.serve_with_incoming(incoming));
        Self { address, ca_pem, fake, tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.fake.script()
    }

    /// Lets the feed tell that something happened.
    pub(crate) fn wake(&self) {
        self.fake.feed.send_modify(|(seq, _)| *seq += 1);
    }

    /// Breaks all streams off.
    pub(crate) fn cut(&self) {
        self.fake.feed.send_modify(|(_, cuts)| *cuts += 1);
    }

    /// Waits until this many streams have been opened in all.
    pub(crate) async fn streams_opened(&self, count: usize) {
        let mut opened = self.fake.opened.subscribe();
        let waiting = opened.wait_for(|opened| *opened >= count);
        drop(
            tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("a stream is opened in time"),
        );
    }

    /// Logs the home in.
    pub(crate) fn log_in(&self, home: &crate::process::Home) {
        home.file("ca.pem", &self.ca_pem);
        let run = home.run_with(
            &["login", "--server", &self.url(), "--ca-file", "ca.pem", "--token-stdin"],
            &format!("{TOKEN}\n"),
        );
        assert_eq!(run.code, 0, "{run:?}");
        assert!(Path::new(&home.path().join(".config/tradepost/config.toml")).exists());
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.tasks.begin_shutdown();
    }
}

/// A step of the script's job.
pub(crate) fn step(seq: u32, phase: v1::Phase, name: &str, status: v1::StepStatus) -> v1::Step {
    let ended = status != v1::StepStatus::Started;
    v1::Step {
        run_lease: 7,
        seq,
        phase: phase.into(),
        name: name.to_owned(),
        status: status.into(),
        detail: String::new(),
        duration: ended.then_some(prost_types::Duration { seconds: 0, nanos: 320_000_000 }),
        index: 1,
        total: 2,
        at: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
    }
}

type Answer<T> = Result<Response<T>, Status>;

impl Fake {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no test panicked with it")
    }

    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if given != Some(&format!("Bearer {TOKEN}")) {
            let details = ErrorDetails::with_error_info("TOKEN_INVALID", "tradepost", HashMap::new());
            let message = "the token is unknown or revoked";
            return Err(Status::with_error_details(tonic::Code::Unauthenticated, message, details));
        }
        let mut script = self.script();
        if script.unavailable > 0 {
            script.unavailable -= 1;
            return Err(Status::unavailable("restarting"));
        }
        Ok(())
    }

    fn account() -> v1::Account {
        v1::Account {
            id: ACCOUNT.to_owned(),
            name: "shop".to_owned(),
            site: "sandbox".to_owned(),
            site_url: "https://sandbox.example/".to_owned(),
            currency_code: "EUR".to_owned(),
            ..v1::Account::default()
        }
    }

    fn listing(content: v1::ListingContent) -> v1::Listing {
        v1::Listing { id: LISTING.to_owned(), content: Some(content), ..v1::Listing::default() }
    }

    fn posting(&self) -> v1::Posting {
        let script = self.script();
        v1::Posting {
            id: POSTING.to_owned(),
            listing_id: LISTING.to_owned(),
            account_id: ACCOUNT.to_owned(),
            generation: 1,
            state: script.posting_state,
            job_id: JOB.to_owned(),
            failure: script.failure.clone(),
            ..v1::Posting::default()
        }
    }
}

#[tonic::async_trait]
impl v1::auth_service_server::AuthService for Fake {
    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Answer<v1::WhoAmIResponse> {
        self.check(&request)?;
        Ok(Response::new(v1::WhoAmIResponse {
            user_id: "0190d3a1-0000-7000-8000-000000000001".to_owned(),
            email: "eva@example.com".to_owned(),
            workspace_id: "0190d3a1-0000-7000-8000-000000000002".to_owned(),
            workspace_name: "Shop".to_owned(),
            role: v1::Role::Owner.into(),
            controller_version: "0.1.0".to_owned(),
            operator: false,
            second_factor: false,
            second_factor_missing: false,
        }))
    }

    async fn register(&self, _: Request<v1::RegisterRequest>) -> Answer<v1::RegisterResponse> {
        Err(Status::unimplemented("not part of the script"))
    }

    async fn accept_invitation(
        &self,
        _: Request<v1::AcceptInvitationRequest>,
    ) -> Answer<v1::AcceptInvitationResponse> {
        Err(Status::unimplemented("not part of the script"))
    }

    async fn login(&self, _: Request<v1::LoginRequest>) -> Answer<v1::LoginResponse> {
        Err(Status::unimplemented("not part of the script"))
    }

    async fn refresh_session(
        &self,
        _: Request<v1::RefreshSessionRequest>,
    ) -> Answer<v1::RefreshSessionResponse> {
        Err(Status::unimplemented("not part of the script"))
    }

    async fn logout(&self, _: Request<v1::LogoutRequest>) -> Answer<v1::LogoutResponse> {
        Err(Status::unimplemented("not part of the script"))
    }

    async fn step_up(&self, _: Request<v1::StepUpRequest>) -> Answer<v1::StepUpResponse> {
        Err(Status::unimplemented("not part of the script"))
    }

    async fn change_password(
        &self,
        _: Request<v1::ChangePasswordRequest>,
    ) -> Answer<v1::ChangePasswordResponse> {
        Err(Status::unimplemented("not part of the script"))
    }

    async fn reset_password(
        &self,
        _: Request<v1::ResetPasswordRequest>,
    ) -> Answer<v1::ResetPasswordResponse> {
        Err(Status::unimplemented("not part of the script"))
    }
}

#[tonic::async_trait]
impl v1::agent_service_server::AgentService for Fake {
    async fn create_enrolment_token(
        &self,
        request: Request<v1::CreateEnrolmentTokenRequest>,
    ) -> Answer<v1::CreateEnrolmentTokenResponse> {
        self.check(&request)?;
        let ttl = request.into_inner().ttl.unwrap_or_default();
        let enrolment_string = format!("tpe_{}", ttl.seconds);
        Ok(Response::new(v1::CreateEnrolmentTokenResponse { enrolment_string, expires_at: None }))
    }

    async fn list_agents(&self, request: Request<v1::ListAgentsRequest>) -> Answer<v1::ListAgentsResponse> {
        self.check(&request)?;
        Ok(Response::new(v1::ListAgentsResponse::default()))
    }

    async fn get_agent(&self, _: Request<v1::GetAgentRequest>) -> Answer<v1::GetAgentResponse> {
        Err(Status::not_found("there is no such agent"))
    }

    async fn approve_agent(&self, _: Request<v1::ApproveAgentRequest>) -> Answer<v1::ApproveAgentResponse> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn revoke_agent(&self, _: Request<v1::RevokeAgentRequest>) -> Answer<v1::RevokeAgentResponse> {
        Err(Status::not_found("there is no such agent"))
    }
}

#[tonic::async_trait]
impl v1::account_service_server::AccountService for Fake {
    async fn create_account(
        &self,
        _: Request<v1::CreateAccountRequest>,
    ) -> Answer<v1::CreateAccountResponse> {
        Err(unscripted())
    }

    async fn get_account(&self, _: Request<v1::GetAccountRequest>) -> Answer<v1::GetAccountResponse> {
        Ok(Response::new(v1::GetAccountResponse { account: Some(Self::account()) }))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Answer<v1::ListAccountsResponse> {
        self.check(&request)?;
        // Two pages, to see that both are fetched.
        let first = request.into_inner().page_token.is_empty();
        let mut account = Self::account();
        if !first {
            account.id = account.id.replace("a1b2c3", "a1b2c9");
            "second shop".clone_into(&mut account.name);
        }
        let next_page_token = if first { "next" } else { "" }.to_owned();
        Ok(Response::new(v1::ListAccountsResponse { accounts: vec![account], next_page_token }))
    }

    async fn bind_account(&self, _: Request<v1::BindAccountRequest>) -> Answer<v1::BindAccountResponse> {
        Err(unscripted())
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Answer<v1::UpdateAccountResponse> {
        self.check(&request)?;
        let auto_republish = request.into_inner().auto_republish.unwrap_or_default();
        let account = v1::Account { auto_republish, ..Self::account() };
        Ok(Response::new(v1::UpdateAccountResponse { account: Some(account) }))
    }

    async fn login_account(
        &self,
        request: Request<v1::LoginAccountRequest>,
    ) -> Answer<v1::LoginAccountResponse> {
        self.check(&request)?;
        Ok(Response::new(v1::LoginAccountResponse { job_id: JOB.to_owned() }))
    }

    async fn get_pacing(&self, request: Request<v1::GetPacingRequest>) -> Answer<v1::GetPacingResponse> {
        self.check(&request)?;
        Ok(Response::new(v1::GetPacingResponse { pacing: Some(self.pacing()) }))
    }

    async fn update_pacing(
        &self,
        request: Request<v1::UpdatePacingRequest>,
    ) -> Answer<v1::UpdatePacingResponse> {
        self.check(&request)?;
        let v1::UpdatePacingRequest { account_id, set, reset } = request.into_inner();
        self.script().policy = set.unwrap_or_default();
        self.script().asked.push(format!("change {account_id} reset={reset}"));
        Ok(Response::new(v1::UpdatePacingResponse { pacing: Some(self.pacing()) }))
    }

    async fn pause_account(
        &self,
        request: Request<v1::PauseAccountRequest>,
    ) -> Answer<v1::PauseAccountResponse> {
        self.script().asked.push(format!("pause {}", request.into_inner().id));
        let paused_at = Some(prost_types::Timestamp { seconds: 1_764_064_800, nanos: 0 });
        let pacing = v1::Pacing { paused_at, ..self.pacing() };
        Ok(Response::new(v1::PauseAccountResponse { pacing: Some(pacing) }))
    }

    async fn resume_account(
        &self,
        request: Request<v1::ResumeAccountRequest>,
    ) -> Answer<v1::ResumeAccountResponse> {
        let v1::ResumeAccountRequest { id, end_cool_down } = request.into_inner();
        self.script().asked.push(format!("resume {id} end_cool_down={end_cool_down}"));
        Ok(Response::new(v1::ResumeAccountResponse { pacing: Some(self.pacing()) }))
    }

    async fn get_credential(
        &self,
        _: Request<v1::GetCredentialRequest>,
    ) -> Answer<v1::GetCredentialResponse> {
        let key = self.script().credential_key.clone();
        Ok(Response::new(v1::GetCredentialResponse {
            key,
            workspace_id: WORKSPACE.to_owned(),
            credential: None,
        }))
    }

    async fn set_credential(
        &self,
        request: Request<v1::SetCredentialRequest>,
    ) -> Answer<v1::SetCredentialResponse> {
        let v1::SetCredentialRequest { account_id, agent_id, key_id: _, generation, sealed } =
            request.into_inner();
        self.script().sealed.push((generation, sealed));
        let state = v1::CredentialState::Ready.into();
        let credential = v1::Credential { account_id, agent_id, generation, state, ..Default::default() };
        Ok(Response::new(v1::SetCredentialResponse { credential: Some(credential) }))
    }

    async fn remove_credential(
        &self,
        _: Request<v1::RemoveCredentialRequest>,
    ) -> Answer<v1::RemoveCredentialResponse> {
        Err(unscripted())
    }
}

impl Fake {
    fn pacing(&self) -> v1::Pacing {
        let own = self.script().policy.clone();
        v1::Pacing {
            account_id: ACCOUNT.to_owned(),
            rules: Some(v1::PacingPolicy {
                per_hour: Some(0),
                per_day: Some(own.per_day.unwrap_or(5)),
                min_gap: Some(own.min_gap.unwrap_or_default()),
                quiet_hours: "none".to_owned(),
                time_zone: "UTC".to_owned(),
                ..v1::PacingPolicy::default()
            }),
            own: Some(own),
            used_last_day: 2,
            waiting_for: "the gap of 2m between two publications, until 11:00:15 (UTC), in 15s".to_owned(),
            ..v1::Pacing::default()
        }
    }
}

#[tonic::async_trait]
impl v1::listing_service_server::ListingService for Fake {
    async fn create_listing(
        &self,
        request: Request<v1::CreateListingRequest>,
    ) -> Answer<v1::CreateListingResponse> {
        self.check(&request)?;
        let content = request.into_inner().content.unwrap_or_default();
        if content.category == "Nowhere" {
            let mut details = ErrorDetails::with_error_info("INVALID_FIELDS", "tradepost", HashMap::new());
            details
                .add_bad_request_violation("content.category", "is no category of any site; see the list.");
            details.add_bad_request_violation("content.photo_ids[0]", "is not in the workspace");
            details.set_retry_info(None);
            let message = "the listing breaks 2 rules";
            return Err(Status::with_error_details(tonic::Code::InvalidArgument, message, details));
        }
        self.script().created.push(content.clone());
        Ok(Response::new(v1::CreateListingResponse { listing: Some(Self::listing(content)) }))
    }

    async fn get_listing(&self, _: Request<v1::GetListingRequest>) -> Answer<v1::GetListingResponse> {
        let content = v1::ListingContent {
            title: "Desk lamp".to_owned(),
            condition: v1::Condition::Good.into(),
            price: Some(v1::Money { minor_units: 2550, currency_code: "EUR".to_owned() }),
            ..v1::ListingContent::default()
        };
        Ok(Response::new(v1::GetListingResponse { listing: Some(Self::listing(content)) }))
    }

    async fn list_listings(&self, _: Request<v1::ListListingsRequest>) -> Answer<v1::ListListingsResponse> {
        Ok(Response::new(v1::ListListingsResponse::default()))
    }

    async fn update_listing(
        &self,
        _: Request<v1::UpdateListingRequest>,
    ) -> Answer<v1::UpdateListingResponse> {
        Err(unscripted())
    }

    async fn delete_listing(
        &self,
        _: Request<v1::DeleteListingRequest>,
    ) -> Answer<v1::DeleteListingResponse> {
        Err(unscripted())
    }
}

#[tonic::async_trait]
impl v1::photo_service_server::PhotoService for Fake {
    type DownloadPhotoStream = Pin<Box<dyn Stream<Item = Result<v1::DownloadPhotoResponse, Status>> + Send>>;

    async fn upload_photo(
        &self,
        request: Request<Streaming<v1::UploadPhotoRequest>>,
    ) -> Answer<v1::UploadPhotoResponse> {
        self.check(&request)?;
        let mut parts = request.into_inner();
        let (mut file_name, mut size) = (String::new(), 0);
        while let Some(message) = parts.message().await? {
            match message.part {
                Some(v1::upload_photo_request::Part::Metadata(metadata)) => file_name = metadata.file_name,
                Some(v1::upload_photo_request::Part::Chunk(chunk)) => size += chunk.len(),
                None => return Err(Status::invalid_argument("an empty part")),
            }
        }
        self.script().uploaded.push((file_name.clone(), size));
        let photo = v1::Photo { id: format!("photo-{file_name}"), file_name, ..v1::Photo::default() };
        Ok(Response::new(v1::UploadPhotoResponse { photo: Some(photo) }))
    }

    async fn get_photo(&self, request: Request<v1::GetPhotoRequest>) -> Answer<v1::GetPhotoResponse> {
        let photo =
            v1::Photo { id: request.into_inner().id, file_name: "1.jpg".to_owned(), ..v1::Photo::default() };
        Ok(Response::new(v1::GetPhotoResponse { photo: Some(photo) }))
    }

    async fn download_photo(
        &self,
        _: Request<v1::DownloadPhotoRequest>,
    ) -> Answer<Self::DownloadPhotoStream> {
        Err(unscripted())
    }
}

fn unscripted() -> Status {
    Status::unimplemented("not in the script")
}
