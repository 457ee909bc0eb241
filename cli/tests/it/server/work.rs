//! Postings, jobs and events of the scripted controller.

use std::collections::HashMap;
use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tradepost_proto::v1;
use tradepost_runtime::tasks::Tasks;

use super::{Answer, Fake, JOB, POSTING, unscripted};

#[tonic::async_trait]
impl v1::posting_service_server::PostingService for Fake {
    async fn create_posting(
        &self,
        request: Request<v1::CreatePostingRequest>,
    ) -> Answer<v1::CreatePostingResponse> {
        self.check(&request)?;
        let published = self.script().posting_state == i32::from(v1::PostingState::Published);
        if published && !request.into_inner().again {
            let details = ErrorDetails::with_error_info("PUBLISHED_ALREADY", "tradepost", HashMap::new());
            let message = "the listing is published on the account already; use --again to post it once more";
            return Err(Status::with_error_details(tonic::Code::AlreadyExists, message, details));
        }
        // As the controller does: the quick reason here, the whole one to who asks.
        let queued = self.script().posting_state == i32::from(v1::PostingState::Queued);
        let waiting_for = if queued { String::from("its turn") } else { String::new() };
        let posting = v1::Posting { waiting_for, ..self.posting() };
        Ok(Response::new(v1::CreatePostingResponse { posting: Some(posting) }))
    }

    async fn batch_create_postings(
        &self,
        request: Request<v1::BatchCreatePostingsRequest>,
    ) -> Answer<v1::BatchCreatePostingsResponse> {
        self.check(&request)?;
        let requests = request.into_inner().requests;
        let postings = requests
            .into_iter()
            .map(|one| v1::Posting {
                listing_id: one.listing_id,
                account_id: one.account_id,
                ..self.posting()
            })
            .collect();
        Ok(Response::new(v1::BatchCreatePostingsResponse { postings }))
    }

    async fn get_posting(&self, request: Request<v1::GetPostingRequest>) -> Answer<v1::GetPostingResponse> {
        self.check(&request)?;
        let queued = self.script().posting_state == i32::from(v1::PostingState::Queued);
        let waiting_for = if queued { String::from("the account to be resumed") } else { String::new() };
        let posting = v1::Posting { waiting_for, ..self.posting() };
        Ok(Response::new(v1::GetPostingResponse { posting: Some(posting) }))
    }

    async fn list_postings(
        &self,
        request: Request<v1::ListPostingsRequest>,
    ) -> Answer<v1::ListPostingsResponse> {
        self.check(&request)?;
        let postings = vec![self.posting()];
        Ok(Response::new(v1::ListPostingsResponse { postings, next_page_token: String::new() }))
    }

    async fn cancel_posting(
        &self,
        _: Request<v1::CancelPostingRequest>,
    ) -> Answer<v1::CancelPostingResponse> {
        let details = ErrorDetails::with_error_info("PAST_THE_FENCE", "tradepost", HashMap::new());
        let message = "the listing may be published already; it is being found out";
        Err(Status::with_error_details(tonic::Code::FailedPrecondition, message, details))
    }

    async fn retry_posting(&self, _: Request<v1::RetryPostingRequest>) -> Answer<v1::RetryPostingResponse> {
        Err(unscripted())
    }

    async fn prioritize_posting(
        &self,
        request: Request<v1::PrioritizePostingRequest>,
    ) -> Answer<v1::PrioritizePostingResponse> {
        self.script().asked.push(format!("priority {}", request.into_inner().priority));
        Ok(Response::new(v1::PrioritizePostingResponse { posting: Some(self.posting()) }))
    }

    async fn get_wait(&self, request: Request<v1::GetWaitRequest>) -> Answer<v1::GetWaitResponse> {
        self.check(&request)?;
        let queued = self.script().posting_state == i32::from(v1::PostingState::Queued);
        let waiting_for = if queued { "the agent \"pc\" to come online" } else { "" }.to_owned();
        let reason = if queued { "agent_offline" } else { "" }.to_owned();
        let posting = Some(v1::Posting { waiting_for, ..self.posting() });
        let time_zone = "Europe/Madrid".to_owned();
        Ok(Response::new(v1::GetWaitResponse {
            posting,
            reason,
            until: None,
            time_zone,
            priority: 0,
            ahead: 2,
        }))
    }

    async fn resolve_posting(
        &self,
        _: Request<v1::ResolvePostingRequest>,
    ) -> Answer<v1::ResolvePostingResponse> {
        Err(unscripted())
    }

    async fn request_look(
        &self,
        request: Request<v1::RequestLookRequest>,
    ) -> Answer<v1::RequestLookResponse> {
        self.check(&request)?;
        Ok(Response::new(v1::RequestLookResponse { posting: Some(self.posting()) }))
    }

    async fn list_looks(&self, request: Request<v1::ListLooksRequest>) -> Answer<v1::ListLooksResponse> {
        self.check(&request)?;
        let look = v1::Look {
            seq: 1,
            generation: 1,
            job_id: JOB.to_owned(),
            at: None,
            whole: true,
            total: 4,
            before: 3,
            known_seen: 3,
            new_items: vec![v1::NewItem {
                item_id: "4711".to_owned(),
                url: "https://sandbox.example/item/4711".to_owned(),
                matches: false,
            }],
            verdict: "one new listing appeared, but its price is not this posting's".to_owned(),
        };
        Ok(Response::new(v1::ListLooksResponse { looks: vec![look] }))
    }

    async fn get_receipt(&self, _: Request<v1::GetReceiptRequest>) -> Answer<v1::GetReceiptResponse> {
        if self.script().posting_state != i32::from(v1::PostingState::Published) {
            return Err(Status::not_found("the posting has no receipt"));
        }
        let found_by = self.script().found_by.clone();
        let check = |field: &str, text: &str| v1::FieldCheck {
            field: field.to_owned(),
            wanted: text.to_owned(),
            found: text.to_owned(),
            matches: true,
        };
        let receipt = v1::Receipt {
            item: Some(v1::PublishedItem {
                item_id: "4711".to_owned(),
                url: "https://sandbox.example/item/4711".to_owned(),
                strategy: if found_by.is_empty() { "id_in_url".to_owned() } else { found_by.clone() },
            }),
            baseline_count: 3,
            read_back: match found_by.as_str() {
                "" => vec![check("title", "Desk lamp"), check("price", "25.50 EUR")],
                _ => Vec::new(),
            },
            evidence: Vec::new(),
            recipe: "sandbox/publish 1".to_owned(),
            agent_id: String::new(),
            prepare_ms: if found_by.is_empty() { 1_800 } else { 0 },
            confirm_ms: if found_by.is_empty() { 420 } else { 0 },
            witness: match found_by.as_str() {
                "" => "run",
                "person" => "person",
                _ => "look",
            }
            .to_owned(),
            new_item_ids: vec!["4711".to_owned()],
            count_after: Some(4),
            permit_ms: if found_by.is_empty() { 12 } else { 0 },
            resolution: (found_by == "person").then(|| v1::Resolution {
                by: "ada@example.com".to_owned(),
                at: None,
                looks: 2,
                question: "the reply was lost".to_owned(),
            }),
        };
        Ok(Response::new(v1::GetReceiptResponse { receipt: Some(receipt) }))
    }
}

#[tonic::async_trait]
impl v1::job_service_server::JobService for Fake {
    type DownloadEvidenceStream =
        Pin<Box<dyn Stream<Item = Result<v1::DownloadEvidenceResponse, Status>> + Send>>;

    async fn get_job(&self, _: Request<v1::GetJobRequest>) -> Answer<v1::GetJobResponse> {
        let job = v1::Job {
            id: JOB.to_owned(),
            kind: v1::JobKind::Login.into(),
            state: self.script().job_state,
            ..v1::Job::default()
        };
        Ok(Response::new(v1::GetJobResponse { job: Some(job) }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        self.check(&request)?;
        if !request.into_inner().dead_letters {
            return Err(unscripted());
        }
        let failure = self.script().failure.clone();
        let (kind, state) = (v1::JobKind::Publish.into(), v1::JobState::Failed.into());
        let job = v1::Job { id: JOB.to_owned(), kind, state, attempt: 8, failure, ..v1::Job::default() };
        Ok(Response::new(v1::ListJobsResponse { jobs: vec![job], next_page_token: String::new() }))
    }

    async fn retry_job(&self, request: Request<v1::RetryJobRequest>) -> Answer<v1::RetryJobResponse> {
        self.script().asked.push(format!("retry {}", request.into_inner().id));
        let (kind, state) = (v1::JobKind::Publish.into(), v1::JobState::Queued.into());
        let job = v1::Job { id: JOB.to_owned(), kind, state, ..v1::Job::default() };
        Ok(Response::new(v1::RetryJobResponse { job: Some(job) }))
    }

    async fn discard_job(&self, _: Request<v1::DiscardJobRequest>) -> Answer<v1::DiscardJobResponse> {
        Err(unscripted())
    }

    async fn treat_dead_letters(
        &self,
        request: Request<v1::TreatDeadLettersRequest>,
    ) -> Answer<v1::TreatDeadLettersResponse> {
        self.check(&request)?;
        let asked = request.into_inner();
        let remedy = asked.remedy().as_str_name().replace("DEAD_LETTER_REMEDY_", "");
        self.script().asked.push(format!("{remedy} {:?} {:?}", asked.kind(), asked.failure_class));
        let done = u32::from(remedy != "COUNT");
        // Two pages, to see that both are treated.
        let next_page_token = if asked.page_token.is_empty() { "next" } else { "" }.to_owned();
        let message = "this look is not needed any more".to_owned();
        let refused = match (done, next_page_token.as_str()) {
            (1, "") => vec![v1::RefusedJob { job_id: JOB.to_owned(), message }],
            _ => Vec::new(),
        };
        Ok(Response::new(v1::TreatDeadLettersResponse { matched: 2, done, refused, next_page_token }))
    }

    async fn list_steps(&self, request: Request<v1::ListStepsRequest>) -> Answer<v1::ListStepsResponse> {
        self.check(&request)?;
        Ok(Response::new(v1::ListStepsResponse { steps: self.script().steps.clone() }))
    }

    async fn list_evidence(&self, _: Request<v1::ListEvidenceRequest>) -> Answer<v1::ListEvidenceResponse> {
        let file = v1::EvidenceFile {
            id: "e1".to_owned(),
            run_lease: 7,
            name: "../before fence.png".to_owned(),
            media_type: "image/png".to_owned(),
            size_bytes: 5,
            // Of "hello".
            sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".to_owned(),
            created_at: None,
        };
        Ok(Response::new(v1::ListEvidenceResponse { files: vec![file] }))
    }

    async fn download_evidence(
        &self,
        _: Request<v1::DownloadEvidenceRequest>,
    ) -> Answer<Self::DownloadEvidenceStream> {
        let chunks = ["hel", "lo"].map(|text| Ok(v1::DownloadEvidenceResponse { chunk: text.into() }));
        Ok(Response::new(Box::pin(futures::stream::iter(chunks))))
    }
}

#[tonic::async_trait]
impl v1::event_service_server::EventService for Fake {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<v1::StreamEventsResponse, Status>> + Send>>;

    async fn stream_events(
        &self,
        request: Request<v1::StreamEventsRequest>,
    ) -> Answer<Self::StreamEventsStream> {
        self.check(&request)?;
        self.script().cursors.push(request.into_inner().after);
        let mut feed = self.feed.subscribe();
        let (mut told, cuts) = *feed.borrow_and_update();
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        Tasks::new().spawn("feed", async move {
            while feed.changed().await.is_ok() {
                let (seq, now_cut) = *feed.borrow_and_update();
                if now_cut > cuts {
                    return;
                }
                while told < seq {
                    told += 1;
                    let event = v1::Event { seq: told, kind: "run.step".to_owned(), ..v1::Event::default() };
                    let item = Some(v1::stream_events_response::Item::Event(event));
                    if sender.send(Ok(v1::StreamEventsResponse { item })).await.is_err() {
                        return;
                    }
                }
            }
        });
        self.opened.send_modify(|opened| *opened += 1);
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn list_events(&self, _: Request<v1::ListEventsRequest>) -> Answer<v1::ListEventsResponse> {
        let events = (1..=2).map(|seq| v1::Event {
            seq,
            kind: "posting.changed".to_owned(),
            posting_id: POSTING.to_owned(),
            ..v1::Event::default()
        });
        Ok(Response::new(v1::ListEventsResponse { events: events.collect() }))
    }
}
