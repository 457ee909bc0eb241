//! A controller of one test, and a user of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;
use tradepost_controller::app::{App, Authority, Error, Surroundings};
use tradepost_controller::background::Grace;
use tradepost_controller::config::Config;
use tradepost_domain::time::Timestamp;
use tradepost_proto::v1;
use tradepost_runtime::clock::{Clock, SystemClock};
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::{Drained, Tasks};
use tradepost_runtime::tls::{self, ClientIdentity, Connector};
use tradepost_testkit::{ManualClock, TestDatabase, photos, wait};
use v1::account_service_client::AccountServiceClient;
use v1::agent_service_client::AgentServiceClient;
use v1::event_service_client::EventServiceClient;
use v1::job_service_client::JobServiceClient;
use v1::listing_service_client::ListingServiceClient;
use v1::photo_service_client::PhotoServiceClient;
use v1::posting_service_client::PostingServiceClient;

/// Nothing in these tests takes longer on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A database, an identity, a clock, and the controller on them.
pub(crate) struct System {
    pub(crate) database: TestDatabase,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) root_pem: String,
    pub(crate) api: String,
    pub(crate) agents: String,
    token: String,
    folder: tempfile::TempDir,
    running: Option<Running>,
    tasks: Tasks,
    adjust: Option<Adjust>,
}

/// Whether the controller remembers how far its database had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Kept,
    Lost,
}

/// What a test configures its own way.
pub(crate) type Adjust = Box<dyn Fn(&mut Config) + Send + Sync>;

struct Running {
    end: oneshot::Sender<()>,
    ended: JoinHandle<Result<Drained, Error>>,
}

impl System {
    pub(crate) async fn start() -> Result<Self> {
        Self::start_on(TestDatabase::sqlite()?).await
    }

    pub(crate) async fn start_on(database: TestDatabase) -> Result<Self> {
        Self::start_with(database, None).await
    }

    /// With a configuration that `adjust` changes.
    pub(crate) async fn start_with(database: TestDatabase, adjust: Option<Adjust>) -> Result<Self> {
        let mut system = Self {
            database,
            // Certificates are checked against the real time.
            clock: ManualClock::new(Timestamp::from_micros(SystemClock.now().as_micros())),
            root_pem: String::new(),
            api: String::new(),
            agents: String::new(),
            token: String::new(),
            folder: tempfile::tempdir()?,
            running: None,
            tasks: Tasks::new(),
            adjust,
        };
        system.resume().await?;
        Ok(system)
    }

    /// Starts the controller (again) on the same database.
    pub(crate) async fn resume(&mut self) -> Result<()> {
        let mut config = Config { data_dir: self.folder.path().to_owned(), ..Config::default() };
        config.database.url = Some(self.database.url().to_owned().into());
        config.api.listen = ([127, 0, 0, 1], 0).into();
        config.agents.listen = ([127, 0, 0, 1], 0).into();
        // Tests are their own proxy, so that each person comes from an address of their own.
        config.api.trusted_proxies = vec!["127.0.0.0/8".parse()?];
        let surroundings = Surroundings {
            clock: self.clock.clone(),
            ids: Ids::from_system(),
            grace: Grace::None,
            metrics: None,
            authority: Authority::Given,
        };
        if let Some(adjust) = &self.adjust {
            adjust(&mut config);
        }
        let app = App::build(config, surroundings).await?;
        self.api = app.api_address().to_string();
        self.agents = app.agents_address().to_string();
        app.root_pem().clone_into(&mut self.root_pem);
        if self.token.is_empty() {
            self.token = app.core().create_operator("a@example.com", "shop").await?.1;
        }
        let (end, ending) = oneshot::channel();
        let ended = self.tasks.spawn("controller", app.run(async move { drop(ending.await) }));
        self.running = Some(Running { end, ended });
        Ok(())
    }

    /// Ends the controller as SIGTERM does; it must drain.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Running { end, ended } = self.running.take().context("is running")?;
        drop(end);
        let drained = tokio::time::timeout(DEADLINE, ended).await???;
        anyhow::ensure!(drained == Drained::Clean, "{drained:?}");
        Ok(())
    }

    pub(crate) async fn channel(&self, address: &str, identity: Option<ClientIdentity>) -> Result<Channel> {
        let roots = tls::pem::roots(&tls::pem::certificates(self.root_pem.as_bytes(), "root")?)?;
        let mut config = tls::client_config(roots, identity)?;
        config.time_provider = Arc::new(tls::TlsClock(self.clock.clone()));
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.timeout(DEADLINE);
        Ok(endpoint.connect_with_connector(Connector::new(config)).await?)
    }

    /// A second controller on the same database and identity: the address for agents, and what ends it.
    pub(crate) async fn sibling(&self) -> Result<(String, oneshot::Sender<()>)> {
        let mut config = Config { data_dir: self.folder.path().to_owned(), ..Config::default() };
        config.database.url = Some(self.database.url().to_owned().into());
        config.api.listen = ([127, 0, 0, 1], 0).into();
        config.agents.listen = ([127, 0, 0, 1], 0).into();
        let surroundings = Surroundings {
            clock: self.clock.clone(),
            ids: Ids::from_system(),
            grace: Grace::None,
            metrics: None,
            authority: Authority::Given,
        };
        let app = App::build(config, surroundings).await?;
        let address = app.agents_address().to_string();
        let (end, ending) = oneshot::channel();
        self.tasks.spawn("sibling", app.run(async move { drop(ending.await) }));
        Ok((address, end))
    }

    pub(crate) async fn user(&self) -> Result<User> {
        Ok(User { channel: self.channel(&self.api, None).await?, token: self.token.clone() })
    }

    /// The API token of the system's operator.
    pub(crate) fn operator_token(&self) -> String {
        self.token.clone()
    }

    /// Ends the controller, puts another copy of the database in its place, and starts it again.
    pub(crate) async fn put_back(&mut self, backup: TestDatabase, memory: Memory) -> Result<()> {
        self.stop().await?;
        self.database = backup;
        if memory == Memory::Lost {
            for entry in std::fs::read_dir(self.identity_folder())? {
                let path = entry?.path();
                if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fleet-")) {
                    std::fs::remove_file(path)?;
                }
            }
        }
        self.resume().await
    }

    /// The database as it is now. The controller restarts for it, as nobody may have a database open that is copied.
    pub(crate) async fn back_up(&mut self) -> Result<TestDatabase> {
        self.stop().await?;
        let copy = self.database.copy().await?;
        self.resume().await?;
        Ok(copy)
    }

    /// The configuration that commands are run with.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config { data_dir: self.folder.path().to_owned(), ..Config::default() };
        config.database.url = Some(self.database.url().to_owned().into());
        config
    }

    /// A user whose program trusts another root for the api listener.
    pub(crate) async fn user_through(&self, root_pem: &str) -> Result<User> {
        let roots = tls::pem::roots(&tls::pem::certificates(root_pem.as_bytes(), "root")?)?;
        let connector = Connector::new(tls::client_config(roots, None)?);
        let endpoint = Endpoint::from_shared(format!("http://{}", self.api))?.timeout(DEADLINE);
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(User { channel, token: self.token.clone() })
    }

    pub(crate) fn identity_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("identity")
    }

    /// What a command beside the controller brings: the same clock.
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings { clock: self.clock.clone(), authority: Authority::Given, ..Surroundings::of_system() }
    }

    /// A second user, of a workspace of their own.
    pub(crate) async fn stranger(&self) -> Result<User> {
        let mut config = Config { data_dir: self.folder.path().to_owned(), ..Config::default() };
        config.database.url = Some(self.database.url().to_owned().into());
        let core = tradepost_controller::app::open_core(
            &config,
            &self.surroundings(),
            tradepost_controller::app::Opener::Command,
        )
        .await?;
        let token = core.create_operator("b@example.com", "other shop").await?.1;
        core.store.close().await;
        Ok(User { channel: self.channel(&self.api, None).await?, token })
    }
}

/// A signed-in user.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) channel: Channel,
    token: String,
}

/// The reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// The fields that a refusal names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let bad = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    bad.into_iter().map(|violation| violation.field).collect()
}

impl User {
    pub(crate) fn with_token(channel: Channel, token: String) -> Self {
        Self { channel, token }
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = MetadataValue::try_from(format!("Bearer {}", self.token)).expect("ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }

    pub(crate) async fn invite(&self) -> Result<String> {
        let request = self.request(v1::CreateEnrolmentTokenRequest { ttl: None });
        let answer = AgentServiceClient::new(self.channel.clone()).create_enrolment_token(request).await?;
        Ok(answer.into_inner().enrolment_string)
    }

    pub(crate) async fn account(&self, name: &str, agent: &str) -> Result<v1::Account> {
        let request = self.request(v1::CreateAccountRequest {
            request_id: format!("account-{name}"),
            name: name.into(),
            site: "sandbox".into(),
            site_url: "http://127.0.0.1:9/".into(),
            sign_in_name: String::new(),
            currency_code: "EUR".into(),
            agent_id: agent.into(),
        });
        let answer = AccountServiceClient::new(self.channel.clone()).create_account(request).await?;
        answer.into_inner().account.context("an account")
    }

    pub(crate) async fn revoke(&self, agent: &str) -> Result<()> {
        let request = self.request(v1::RevokeAgentRequest { id: agent.into() });
        AgentServiceClient::new(self.channel.clone()).revoke_agent(request).await?;
        Ok(())
    }

    pub(crate) async fn auto_republish(&self, account: &str, on: bool) -> Result<v1::Account> {
        let request = self.request(v1::UpdateAccountRequest {
            id: account.into(),
            etag: String::new(),
            auto_republish: Some(on),
        });
        let answer = AccountServiceClient::new(self.channel.clone()).update_account(request).await?;
        answer.into_inner().account.context("an account")
    }

    pub(crate) async fn bind(&self, account: &str, agent: &str) -> Result<v1::Account> {
        let request = self.request(v1::BindAccountRequest {
            id: account.into(),
            agent_id: agent.into(),
            etag: String::new(),
        });
        let answer = AccountServiceClient::new(self.channel.clone()).bind_account(request).await?;
        answer.into_inner().account.context("an account")
    }

    /// Waits for an event of that kind in the feed.
    pub(crate) async fn event(&self, kind: &str) -> Result<v1::Event> {
        wait::until(&format!("event {kind}"), DEADLINE, || async {
            let request =
                self.request(v1::ListEventsRequest { limit: 1_000, ..v1::ListEventsRequest::default() });
            let mut service = EventServiceClient::new(self.channel.clone());
            let answer = service.list_events(request).await.map_err(|error| error.to_string())?;
            let mut events = answer.into_inner().events;
            match events.iter().position(|event| event.kind == kind) {
                Some(at) => Ok(events.swap_remove(at)),
                None => Err(format!("{:?}", events.iter().map(|event| &event.kind).collect::<Vec<_>>())),
            }
        })
        .await
    }

    pub(crate) async fn photo(&self, content: Vec<u8>) -> Result<v1::Photo, Status> {
        use v1::upload_photo_request::Part;
        let metadata = v1::UploadPhotoMetadata { file_name: "front.jpg".into(), size_bytes: 0 };
        let mut parts = vec![Part::Metadata(metadata)];
        parts.extend(content.chunks(100_000).map(|chunk| Part::Chunk(chunk.to_vec())));
        let messages = parts.into_iter().map(|part| v1::UploadPhotoRequest { part: Some(part) });
        let request = self.request(tokio_stream::iter(messages.collect::<Vec<_>>()));
        let answer = PhotoServiceClient::new(self.channel.clone()).upload_photo(request).await?;
        Ok(answer.into_inner().photo.unwrap_or_default())
    }

    pub(crate) async fn listing(&self, title: &str) -> Result<v1::Listing> {
        let photo = self.photo(photos::jpeg(1)).await?;
        let content = v1::ListingContent { title: title.into(), photo_ids: vec![photo.id], ..content() };
        let request = self.request(v1::CreateListingRequest {
            request_id: format!("listing-{}", title.replace(' ', "-")),
            content: Some(content),
        });
        let answer = ListingServiceClient::new(self.channel.clone()).create_listing(request).await?;
        answer.into_inner().listing.context("a listing")
    }

    pub(crate) fn postings(&self) -> PostingServiceClient<Channel> {
        PostingServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn post(&self, name: &str, listing: &str, account: &str) -> Result<v1::Posting, Status> {
        let request = self.request(v1::CreatePostingRequest {
            request_id: name.into(),
            listing_id: listing.into(),
            account_id: account.into(),
            priority: 0,
            again: false,
        });
        Ok(self.postings().create_posting(request).await?.into_inner().posting.unwrap_or_default())
    }

    pub(crate) async fn posting(&self, id: &str) -> Result<v1::Posting> {
        let request = self.request(v1::GetPostingRequest { id: id.into() });
        self.postings().get_posting(request).await?.into_inner().posting.context("a posting")
    }

    /// Waits until the posting is in `state`.
    pub(crate) async fn reaches(&self, id: &str, state: v1::PostingState) -> Result<v1::Posting> {
        wait::until(&format!("posting to be {state:?}"), DEADLINE, || async {
            let posting = self.posting(id).await.map_err(|error| error.to_string())?;
            if posting.state() == state { Ok(posting) } else { Err(format!("{posting:?}")) }
        })
        .await
    }

    /// Waits until the job is in `state`.
    pub(crate) async fn job_reaches(&self, id: &str, state: v1::JobState) -> Result<v1::Job> {
        wait::until(&format!("job to be {state:?}"), DEADLINE, || async {
            let job = self.job(id).await.map_err(|error| error.to_string())?;
            if job.state() == state { Ok(job) } else { Err(format!("{job:?}")) }
        })
        .await
    }

    pub(crate) async fn steps(&self, job: &str) -> Result<Vec<v1::Step>> {
        let request = self.request(v1::ListStepsRequest { job_id: job.into() });
        Ok(JobServiceClient::new(self.channel.clone()).list_steps(request).await?.into_inner().steps)
    }

    pub(crate) async fn job(&self, id: &str) -> Result<v1::Job> {
        let request = self.request(v1::GetJobRequest { id: id.into() });
        JobServiceClient::new(self.channel.clone()).get_job(request).await?.into_inner().job.context("a job")
    }
}

/// A listing that the practice marketplace takes, but for its photos.
pub(crate) fn content() -> v1::ListingContent {
    v1::ListingContent {
        title: "Cordless drill".into(),
        description: "With two batteries".into(),
        price: Some(v1::Money { minor_units: 4_500, currency_code: "EUR".into() }),
        category: "Home and garden > Tools".into(),
        condition: v1::Condition::Good.into(),
        location: "Berlin".into(),
        ..v1::ListingContent::default()
    }
}
