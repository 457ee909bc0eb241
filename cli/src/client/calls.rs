//! The calls, noun by noun.

use std::future::Future;
use std::time::Duration;

use futures::stream;
use sha2::{Digest, Sha256};
use tonic::Streaming;
use tradepost_domain::{job, posting};
use tradepost_proto::v1;
use tradepost_proto::v1::account_service_client::AccountServiceClient;
use tradepost_proto::v1::agent_service_client::AgentServiceClient;
use tradepost_proto::v1::auth_service_client::AuthServiceClient;
use tradepost_proto::v1::event_service_client::EventServiceClient;
use tradepost_proto::v1::job_service_client::JobServiceClient;
use tradepost_proto::v1::listing_service_client::ListingServiceClient;
use tradepost_proto::v1::photo_service_client::PhotoServiceClient;
use tradepost_proto::v1::posting_service_client::PostingServiceClient;

use super::{Client, Repeat, convert, status};
use crate::args::pacing::PolicyArguments;
use crate::error::{Error, Exit, Result};
use crate::model;

/// Bytes of one message of an upload.
const CHUNK: usize = 128 * 1024;
/// Most items the controller gives in one page.
const PAGE: usize = 200;
/// A slow line needs this long for the largest photo.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);
/// Largest evidence file that is taken, in bytes; the controller keeps none above 2 MiB.
const EVIDENCE_MAX: usize = 8 * 1024 * 1024;

/// The beginning of a list.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// Which dead letters; empty for any.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    pub(crate) account_id: String,
    pub(crate) kind: Option<job::Kind>,
    pub(crate) class: String,
}

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    Count,
    Retry,
    Discard,
}

macro_rules! call {
    ($client:expr, $repeat:ident, $service:ident.$method:ident($message:expr)) => {
        $client
            .call(Repeat::$repeat, $message, |channel, request| {
                let mut service = $service::new(channel);
                async move { service.$method(request).await }
            })
            .await
    };
}
pub(super) use call;

/// Fetches pages until `limit` items are there.
pub(super) async fn listed<T, F>(limit: usize, page: impl Fn(i32, String) -> F) -> Result<Listed<T>>
where
    F: Future<Output = Result<(Vec<T>, String)>>,
{
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let size = i32::try_from(PAGE.min(limit - items.len())).unwrap_or(0);
        let (page, next) = page(size, token).await?;
        items.extend(page);
        token = next;
        if token.is_empty() || items.len() >= limit {
            let more = !token.is_empty() || items.len() > limit;
            items.truncate(limit);
            return Ok(Listed { items, more });
        }
    }
}

/// Who one is, agents.
impl Client {
    pub(crate) async fn who_am_i(&self) -> Result<model::Identity> {
        call!(self, Harmless, AuthServiceClient.who_am_i(v1::WhoAmIRequest {})).map(convert::identity)
    }

    pub(crate) async fn list_agents(&self, limit: usize) -> Result<Listed<model::Agent>> {
        listed(limit, async |page_size, page_token| {
            let answer = call!(
                self,
                Harmless,
                AgentServiceClient.list_agents(v1::ListAgentsRequest { page_size, page_token })
            )?;
            let v1::ListAgentsResponse { agents, next_page_token } = answer;
            Ok((agents.into_iter().map(convert::agent).collect::<Result<_>>()?, next_page_token))
        })
        .await
    }

    pub(crate) async fn get_agent(&self, id: String) -> Result<model::Agent> {
        let answer = call!(self, Harmless, AgentServiceClient.get_agent(v1::GetAgentRequest { id }))?;
        convert::agent(convert::present(answer.agent, "agent")?)
    }

    pub(crate) async fn approve_agent(&self, id: String) -> Result<model::Agent> {
        let answer = call!(self, Harmless, AgentServiceClient.approve_agent(v1::ApproveAgentRequest { id }))?;
        convert::agent(convert::present(answer.agent, "agent")?)
    }

    pub(crate) async fn revoke_agent(&self, id: String) -> Result<model::Agent> {
        let answer = call!(self, Harmless, AgentServiceClient.revoke_agent(v1::RevokeAgentRequest { id }))?;
        convert::agent(convert::present(answer.agent, "agent")?)
    }

    pub(crate) async fn create_enrolment_token(&self, ttl: Duration) -> Result<model::EnrolmentToken> {
        let ttl = prost_types::Duration::try_from(ttl)
            .map_err(|_| Error::usage("--ttl is too long; at most 24h"))?;
        let request = v1::CreateEnrolmentTokenRequest { ttl: Some(ttl) };
        call!(self, Never, AgentServiceClient.create_enrolment_token(request)).map(convert::enrolment_token)
    }
}

/// Accounts.
impl Client {
    pub(crate) async fn create_account(&self, account: model::NewAccount) -> Result<model::Account> {
        let model::NewAccount { name, site, site_url, sign_in_name, currency_code, agent_id } = account;
        let request_id = self.request_id();
        let request = v1::CreateAccountRequest {
            request_id,
            name,
            site,
            site_url,
            sign_in_name,
            currency_code,
            agent_id,
        };
        let answer = call!(self, Harmless, AccountServiceClient.create_account(request))?;
        convert::present(answer.account, "account").map(convert::account)
    }

    pub(crate) async fn list_accounts(&self, limit: usize) -> Result<Listed<model::Account>> {
        listed(limit, async |page_size, page_token| {
            let request = v1::ListAccountsRequest { page_size, page_token };
            let answer = call!(self, Harmless, AccountServiceClient.list_accounts(request))?;
            let v1::ListAccountsResponse { accounts, next_page_token } = answer;
            Ok((accounts.into_iter().map(convert::account).collect(), next_page_token))
        })
        .await
    }

    pub(crate) async fn get_account(&self, id: String) -> Result<model::Account> {
        let answer = call!(self, Harmless, AccountServiceClient.get_account(v1::GetAccountRequest { id }))?;
        convert::present(answer.account, "account").map(convert::account)
    }

    /// Says whether absent listings are posted again without asking.
    pub(crate) async fn set_auto_republish(
        &self,
        account: model::Account,
        on: bool,
    ) -> Result<model::Account> {
        let request =
            v1::UpdateAccountRequest { id: account.id, etag: account.etag, auto_republish: Some(on) };
        let answer = call!(self, Never, AccountServiceClient.update_account(request))?;
        convert::present(answer.account, "account").map(convert::account)
    }

    pub(crate) async fn bind_account(
        &self,
        account: model::Account,
        agent_id: String,
    ) -> Result<model::Account> {
        let request = v1::BindAccountRequest { id: account.id, agent_id, etag: account.etag };
        let answer = call!(self, Never, AccountServiceClient.bind_account(request))?;
        convert::present(answer.account, "account").map(convert::account)
    }

    /// The id of the job that has the account signed in.
    pub(crate) async fn login_account(&self, id: String) -> Result<String> {
        let request = v1::LoginAccountRequest { request_id: self.request_id(), id };
        call!(self, Harmless, AccountServiceClient.login_account(request)).map(|answer| answer.job_id)
    }

    pub(crate) async fn get_pacing(&self, account_id: String) -> Result<model::Pacing> {
        let request = v1::GetPacingRequest { account_id };
        let answer = call!(self, Harmless, AccountServiceClient.get_pacing(request))?;
        convert::present(answer.pacing, "pacing").map(convert::pacing)
    }

    /// Sets what is given; forgets the account's own policy first when `reset`.
    pub(crate) async fn update_pacing(
        &self,
        account_id: String,
        set: PolicyArguments,
        reset: bool,
    ) -> Result<model::Pacing> {
        let request = v1::UpdatePacingRequest { account_id, set: Some(convert::policy_message(set)), reset };
        let answer = call!(self, Harmless, AccountServiceClient.update_pacing(request))?;
        convert::present(answer.pacing, "pacing").map(convert::pacing)
    }

    pub(crate) async fn pause_account(&self, id: String) -> Result<model::Pacing> {
        let answer =
            call!(self, Harmless, AccountServiceClient.pause_account(v1::PauseAccountRequest { id }))?;
        convert::present(answer.pacing, "pacing").map(convert::pacing)
    }

    pub(crate) async fn resume_account(&self, id: String, end_cool_down: bool) -> Result<model::Pacing> {
        let request = v1::ResumeAccountRequest { id, end_cool_down };
        let answer = call!(self, Harmless, AccountServiceClient.resume_account(request))?;
        convert::present(answer.pacing, "pacing").map(convert::pacing)
    }
}

/// Listings and photos.
impl Client {
    pub(crate) async fn create_listing(&self, content: &model::Content) -> Result<model::Listing> {
        let content = Some(convert::content_message(content));
        let request = v1::CreateListingRequest { request_id: self.request_id(), content };
        let answer = call!(self, Harmless, ListingServiceClient.create_listing(request))?;
        convert::listing(convert::present(answer.listing, "listing")?)
    }

    pub(crate) async fn list_listings(&self, limit: usize) -> Result<Listed<model::Listing>> {
        listed(limit, async |page_size, page_token| {
            let request = v1::ListListingsRequest { page_size, page_token };
            let answer = call!(self, Harmless, ListingServiceClient.list_listings(request))?;
            let v1::ListListingsResponse { listings, next_page_token } = answer;
            Ok((listings.into_iter().map(convert::listing).collect::<Result<_>>()?, next_page_token))
        })
        .await
    }

    pub(crate) async fn get_listing(&self, id: String) -> Result<model::Listing> {
        let answer = call!(self, Harmless, ListingServiceClient.get_listing(v1::GetListingRequest { id }))?;
        convert::listing(convert::present(answer.listing, "listing")?)
    }

    pub(crate) async fn update_listing(&self, listing: &model::Listing) -> Result<model::Listing> {
        let request = v1::UpdateListingRequest {
            id: listing.id.clone(),
            content: Some(convert::content_message(&listing.content)),
            etag: listing.etag.clone(),
        };
        let answer = call!(self, Never, ListingServiceClient.update_listing(request))?;
        convert::listing(convert::present(answer.listing, "listing")?)
    }

    pub(crate) async fn delete_listing(&self, id: String) -> Result<()> {
        call!(self, Never, ListingServiceClient.delete_listing(v1::DeleteListingRequest { id })).map(drop)
    }

    /// Uploads a photo; `sent` hears of each chunk's bytes. Equal content has one id, so a repeat changes nothing.
    pub(crate) async fn upload_photo(
        &self,
        file_name: String,
        content: Vec<u8>,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<model::Photo> {
        use v1::upload_photo_request::Part;
        let metadata =
            v1::UploadPhotoMetadata { file_name, size_bytes: i64::try_from(content.len()).unwrap_or(0) };
        let chunks: Vec<Vec<u8>> = content.chunks(CHUNK).map(<[u8]>::to_vec).collect();
        let parts = std::iter::once(Part::Metadata(metadata)).chain(chunks.into_iter().map(Part::Chunk));
        let messages = parts.map(move |part| {
            if let Part::Chunk(chunk) = &part {
                sent(chunk.len() as u64);
            }
            v1::UploadPhotoRequest { part: Some(part) }
        });
        let timeout = self.timeout.max(UPLOAD_TIMEOUT);
        let mut service = PhotoServiceClient::new(self.channel.clone());
        let answer = service
            .upload_photo(self.request(stream::iter(messages), Some(timeout)).await?)
            .await
            .map_err(|error| status::error(&self.origin, &error))?
            .into_inner();
        convert::present(answer.photo, "photo").map(convert::photo)
    }

    pub(crate) async fn get_photo(&self, id: String) -> Result<model::Photo> {
        let answer = call!(self, Harmless, PhotoServiceClient.get_photo(v1::GetPhotoRequest { id }))?;
        convert::present(answer.photo, "photo").map(convert::photo)
    }
}

/// Postings.
impl Client {
    pub(crate) async fn create_posting(
        &self,
        listing_id: String,
        account_id: String,
        priority: i32,
        again: bool,
    ) -> Result<model::Posting> {
        let request_id = self.request_id();
        let request = v1::CreatePostingRequest { request_id, listing_id, account_id, priority, again };
        let answer = call!(self, Harmless, PostingServiceClient.create_posting(request))?;
        convert::posting(convert::present(answer.posting, "posting")?)
    }

    /// Up to 1,000 with one call, which makes all of them or none; more go with several calls.
    pub(crate) async fn create_postings(
        &self,
        listings: &[String],
        account_id: &str,
        priority: i32,
        again: bool,
    ) -> Result<Vec<model::Posting>> {
        let mut postings = Vec::with_capacity(listings.len());
        for listings in listings.chunks(1_000) {
            let requests: Vec<_> = listings
                .iter()
                .map(|listing_id| v1::CreatePostingRequest {
                    request_id: self.request_id(),
                    listing_id: listing_id.clone(),
                    account_id: account_id.to_owned(),
                    priority,
                    again,
                })
                .collect();
            let request = v1::BatchCreatePostingsRequest { requests };
            let answer = call!(self, Harmless, PostingServiceClient.batch_create_postings(request))?;
            for posting in answer.postings {
                postings.push(convert::posting(posting)?);
            }
        }
        Ok(postings)
    }

    pub(crate) async fn list_postings(
        &self,
        limit: usize,
        account_id: Option<String>,
        state: Option<posting::State>,
    ) -> Result<Listed<model::Posting>> {
        let state = state.map_or(v1::PostingState::Unspecified, convert::posting_state);
        listed(limit, async |page_size, page_token| {
            let account_id = account_id.clone().unwrap_or_default();
            let request = v1::ListPostingsRequest { page_size, page_token, account_id, state: state.into() };
            let answer = call!(self, Harmless, PostingServiceClient.list_postings(request))?;
            let v1::ListPostingsResponse { postings, next_page_token } = answer;
            Ok((postings.into_iter().map(convert::posting).collect::<Result<_>>()?, next_page_token))
        })
        .await
    }

    pub(crate) async fn get_posting(&self, id: String) -> Result<model::Posting> {
        let answer = call!(self, Harmless, PostingServiceClient.get_posting(v1::GetPostingRequest { id }))?;
        convert::posting(convert::present(answer.posting, "posting")?)
    }

    pub(crate) async fn cancel_posting(&self, id: String) -> Result<model::Posting> {
        let answer =
            call!(self, Harmless, PostingServiceClient.cancel_posting(v1::CancelPostingRequest { id }))?;
        convert::posting(convert::present(answer.posting, "posting")?)
    }

    pub(crate) async fn prioritize_posting(&self, id: String, priority: i32) -> Result<model::Posting> {
        let request = v1::PrioritizePostingRequest { id, priority };
        let answer = call!(self, Harmless, PostingServiceClient.prioritize_posting(request))?;
        convert::posting(convert::present(answer.posting, "posting")?)
    }

    /// What a posting waits for.
    pub(crate) async fn get_wait(&self, posting_id: String) -> Result<model::Wait> {
        call!(self, Harmless, PostingServiceClient.get_wait(v1::GetWaitRequest { posting_id }))
            .and_then(convert::wait)
    }

    pub(crate) async fn retry_posting(&self, id: String) -> Result<model::Posting> {
        let answer = call!(self, Never, PostingServiceClient.retry_posting(v1::RetryPostingRequest { id }))?;
        convert::posting(convert::present(answer.posting, "posting")?)
    }

    pub(crate) async fn resolve_posting(
        &self,
        id: String,
        finding: model::Finding,
    ) -> Result<model::Posting> {
        use v1::resolve_posting_request::Finding;
        let finding = match finding {
            model::Finding::Published { item_id, url } => {
                Finding::Published(v1::PublishedItem { item_id, url, strategy: "person".to_owned() })
            }
            model::Finding::NotPublished => Finding::NotPublished(v1::NotPublished {}),
        };
        let request = v1::ResolvePostingRequest { id, finding: Some(finding) };
        let answer = call!(self, Never, PostingServiceClient.resolve_posting(request))?;
        convert::posting(convert::present(answer.posting, "posting")?)
    }

    /// Has the agent look as soon as it can.
    pub(crate) async fn request_look(&self, id: String) -> Result<model::Posting> {
        let answer = call!(self, Harmless, PostingServiceClient.request_look(v1::RequestLookRequest { id }))?;
        convert::posting(convert::present(answer.posting, "posting")?)
    }

    /// What the looks for a posting's listing saw, oldest first.
    pub(crate) async fn list_looks(&self, posting_id: String) -> Result<Vec<model::Look>> {
        let answer =
            call!(self, Harmless, PostingServiceClient.list_looks(v1::ListLooksRequest { posting_id }))?;
        Ok(answer.looks.into_iter().map(convert::look).collect())
    }

    /// The proof of publication; none before it.
    pub(crate) async fn find_receipt(&self, posting_id: String) -> Result<Option<model::Receipt>> {
        let answer =
            call!(self, Harmless, PostingServiceClient.get_receipt(v1::GetReceiptRequest { posting_id }));
        match answer {
            Ok(answer) => Ok(answer.receipt.map(convert::receipt)),
            Err(error) if error.exit == Exit::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Jobs, evidence, events.
impl Client {
    pub(crate) async fn list_jobs(
        &self,
        limit: usize,
        account_id: Option<String>,
        state: Option<job::State>,
    ) -> Result<Listed<model::Job>> {
        let state = state.map_or(v1::JobState::Unspecified, convert::job_state);
        self.jobs(limit, account_id, state, false).await
    }

    /// Jobs that were given up and not put aside.
    pub(crate) async fn list_dead_letters(
        &self,
        limit: usize,
        account_id: Option<String>,
    ) -> Result<Listed<model::Job>> {
        self.jobs(limit, account_id, v1::JobState::Unspecified, true).await
    }

    async fn jobs(
        &self,
        limit: usize,
        account_id: Option<String>,
        state: v1::JobState,
        dead_letters: bool,
    ) -> Result<Listed<model::Job>> {
        listed(limit, async |page_size, page_token| {
            let account_id = account_id.clone().unwrap_or_default();
            let state = state.into();
            let request = v1::ListJobsRequest { page_size, page_token, state, account_id, dead_letters };
            let answer = call!(self, Harmless, JobServiceClient.list_jobs(request))?;
            let v1::ListJobsResponse { jobs, next_page_token } = answer;
            Ok((jobs.into_iter().map(convert::job).collect::<Result<_>>()?, next_page_token))
        })
        .await
    }

    pub(crate) async fn get_job(&self, id: String) -> Result<model::Job> {
        let answer = call!(self, Harmless, JobServiceClient.get_job(v1::GetJobRequest { id }))?;
        convert::job(convert::present(answer.job, "job")?)
    }

    pub(crate) async fn retry_job(&self, id: String) -> Result<model::Job> {
        let answer = call!(self, Never, JobServiceClient.retry_job(v1::RetryJobRequest { id }))?;
        convert::job(convert::present(answer.job, "job")?)
    }

    pub(crate) async fn discard_job(&self, id: String) -> Result<model::Job> {
        let answer = call!(self, Harmless, JobServiceClient.discard_job(v1::DiscardJobRequest { id }))?;
        convert::job(convert::present(answer.job, "job")?)
    }

    /// Counts dead letters or treats them, page by page.
    pub(crate) async fn treat_dead_letters(
        &self,
        wanted: &DeadLetters,
        remedy: Remedy,
    ) -> Result<model::Treated> {
        let wire = match remedy {
            Remedy::Count => v1::DeadLetterRemedy::Count,
            Remedy::Retry => v1::DeadLetterRemedy::Retry,
            Remedy::Discard => v1::DeadLetterRemedy::Discard,
        };
        let DeadLetters { account_id, kind, class } = wanted;
        let kind = kind.map_or(v1::JobKind::Unspecified, convert::job_kind);
        let mut treated = model::Treated::default();
        let mut page_token = String::new();
        loop {
            let request = v1::TreatDeadLettersRequest {
                remedy: wire.into(),
                account_id: account_id.clone(),
                kind: kind.into(),
                failure_class: class.clone(),
                page_size: 100,
                page_token,
            };
            let answer = call!(self, Never, JobServiceClient.treat_dead_letters(request))?;
            let v1::TreatDeadLettersResponse { matched, done, refused, next_page_token } = answer;
            treated.matched += matched;
            treated.done += done;
            let refused = refused.into_iter().map(|refused| {
                let v1::RefusedJob { job_id, message } = refused;
                model::RefusedJob { job_id, message }
            });
            treated.refused.extend(refused);
            page_token = next_page_token;
            if page_token.is_empty() {
                return Ok(treated);
            }
        }
    }

    pub(crate) async fn list_steps(&self, job_id: String) -> Result<Vec<model::Step>> {
        let answer = call!(self, Harmless, JobServiceClient.list_steps(v1::ListStepsRequest { job_id }))?;
        answer.steps.into_iter().map(convert::step).collect()
    }

    pub(crate) async fn list_evidence(&self, job_id: String) -> Result<Vec<model::EvidenceFile>> {
        let answer =
            call!(self, Harmless, JobServiceClient.list_evidence(v1::ListEvidenceRequest { job_id }))?;
        Ok(answer.files.into_iter().map(convert::evidence_file).collect())
    }

    /// The content of an evidence file, checked against its hash.
    pub(crate) async fn download_evidence(&self, file: &model::EvidenceFile) -> Result<Vec<u8>> {
        let request = v1::DownloadEvidenceRequest { id: file.id.clone() };
        let mut stream: Streaming<v1::DownloadEvidenceResponse> =
            call!(self, Harmless, JobServiceClient.download_evidence(request))?;
        let mut content = Vec::new();
        loop {
            match tokio::time::timeout(self.timeout, stream.message()).await {
                Ok(Ok(Some(message))) => content.extend_from_slice(&message.chunk),
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(status::error(&self.origin, &error)),
                Err(_) => return Err(status::no_answer(&self.origin, self.timeout)),
            }
            if content.len() > EVIDENCE_MAX {
                return Err(Error::failed(format!("{} is larger than evidence may be", file.name)));
            }
        }
        if hex::encode(Sha256::digest(&content)) == file.sha256 {
            Ok(content)
        } else {
            Err(Error::failed(format!("{} arrived damaged: its content does not have its hash", file.name))
                .hint("try again"))
        }
    }

    pub(crate) async fn list_events(
        &self,
        after: i64,
        limit: i32,
        posting_id: String,
    ) -> Result<Vec<model::Event>> {
        let request = v1::ListEventsRequest { after, limit, posting_id };
        let answer = call!(self, Harmless, EventServiceClient.list_events(request))?;
        Ok(answer.events.into_iter().map(convert::event).collect())
    }
}
