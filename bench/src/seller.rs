//! What an operator does over the API: agents, accounts, listings, postings.

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tradepost_proto::enrolment::EnrolmentString;
use tradepost_proto::v1;
use tradepost_runtime::tls::{self, ClientIdentity, Connector};
use tradepost_testkit::photos;
use v1::account_service_client::AccountServiceClient;
use v1::agent_service_client::AgentServiceClient;
use v1::enrolment_service_client::EnrolmentServiceClient;
use v1::listing_service_client::ListingServiceClient;
use v1::photo_service_client::PhotoServiceClient;
use v1::posting_service_client::PostingServiceClient;

use crate::controller::Place;

/// Calls at once while things are prepared.
const PREPARE_AT_ONCE: usize = 32;

/// An enrolled agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    pub(crate) id: String,
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
}

/// Everything that postings need: agents with accounts, and listings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shop {
    pub(crate) agents: Vec<Enrolled>,
    pub(crate) accounts: Vec<String>,
    pub(crate) listings: Vec<String>,
}

/// How large a shop is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) agents: usize,
    pub(crate) accounts_per_agent: usize,
    pub(crate) listings: usize,
}

/// A signed-in operator.
#[derive(Debug, Clone)]
pub(crate) struct Seller {
    channel: Channel,
    token: MetadataValue<tonic::metadata::Ascii>,
}

/// A connection for calls to `address`.
pub(crate) async fn connect(
    place: &Place,
    address: &str,
    identity: Option<ClientIdentity>,
) -> Result<Channel> {
    let roots = tls::pem::roots(&tls::pem::certificates(place.root_pem.as_bytes(), "root")?)?;
    let connector = Connector::new(tls::client_config(roots, identity)?);
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    endpoint.connect_with_connector(connector).await.with_context(|| format!("cannot reach {address}"))
}

impl Seller {
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let token = MetadataValue::try_from(format!("Bearer {}", place.token))?;
        Ok(Self { channel: connect(place, &place.api, None).await?, token })
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    /// Makes a shop. Accounts go round the agents: account `n` is bound to agent `n % agents`.
    pub(crate) async fn furnish(&self, place: &Place, size: Size) -> Result<Shop> {
        let agents: Vec<Enrolled> = stream::iter(0..size.agents)
            .map(|number| self.enrol(place, number))
            .buffered(PREPARE_AT_ONCE)
            .try_collect()
            .await?;
        let total = size.agents * size.accounts_per_agent;
        let accounts = stream::iter(0..total)
            .map(|number| {
                self.account(number, agents.get(number % size.agents.max(1)).map(|agent| agent.id.clone()))
            })
            .buffered(PREPARE_AT_ONCE)
            .try_collect()
            .await?;
        let photo = self.photo().await?;
        let listings = stream::iter(0..size.listings)
            .map(|number| self.listing(number, photo.clone()))
            .buffered(PREPARE_AT_ONCE)
            .try_collect()
            .await?;
        Ok(Shop { agents, accounts, listings })
    }

    async fn enrol(&self, place: &Place, number: usize) -> Result<Enrolled> {
        let invite = self.request(v1::CreateEnrolmentTokenRequest { ttl: None });
        let invite = AgentServiceClient::new(self.channel.clone()).create_enrolment_token(invite).await?;
        let EnrolmentString { secret, .. } = invite.into_inner().enrolment_string.parse()?;
        let key = KeyPair::generate()?;
        let request = v1::EnrolRequest {
            token: secret,
            csr_pem: CertificateParams::default().serialize_request(&key)?.pem()?,
            name: format!("pc-{number}"),
            platform: "linux x86_64".into(),
            version: "bench".into(),
        };
        let channel = connect(place, &place.api, None).await?;
        let answer = EnrolmentServiceClient::new(channel).enrol(request).await?.into_inner();
        Ok(Enrolled {
            id: answer.agent_id,
            chain_pem: answer.certificate_chain_pem,
            key_pem: key.serialize_pem(),
        })
    }

    async fn account(&self, number: usize, agent: Option<String>) -> Result<String> {
        let request = self.request(v1::CreateAccountRequest {
            request_id: format!("account-{number}"),
            name: format!("account {number}"),
            site: "classified".into(),
            site_url: "http://127.0.0.1:9/".into(),
            sign_in_name: String::new(),
            currency_code: "USD".into(),
            agent_id: agent.context("a shop has agents")?,
        });
        let made = AccountServiceClient::new(self.channel.clone()).create_account(request).await?;
        Ok(made.into_inner().account.context("an account")?.id)
    }

    async fn photo(&self) -> Result<String> {
        use v1::upload_photo_request::Part;
        let metadata = v1::UploadPhotoMetadata { file_name: "front.jpg".into(), size_bytes: 0 };
        let parts = vec![Part::Metadata(metadata), Part::Chunk(photos::jpeg(1))];
        let messages: Vec<_> =
            parts.into_iter().map(|part| v1::UploadPhotoRequest { part: Some(part) }).collect();
        let request = self.request(tokio_stream::iter(messages));
        let photo = PhotoServiceClient::new(self.channel.clone()).upload_photo(request).await?;
        Ok(photo.into_inner().photo.context("a photo")?.id)
    }

    async fn listing(&self, number: usize, photo: String) -> Result<String> {
        let content = v1::ListingContent {
            title: format!("Steel road bike {number}"),
            description: "Steel frame, new chain and cables, ready to ride.".into(),
            price: Some(v1::Money { minor_units: 34_050, currency_code: "USD".into() }),
            category: "Vehicles > Bicycles".into(),
            condition: v1::Condition::Good.into(),
            location: "Berlin".into(),
            photo_ids: vec![photo],
            ..v1::ListingContent::default()
        };
        let request = self.request(v1::CreateListingRequest {
            request_id: format!("listing-{number}"),
            content: Some(content),
        });
        let made = ListingServiceClient::new(self.channel.clone()).create_listing(request).await?;
        Ok(made.into_inner().listing.context("a listing")?.id)
    }

    /// Asks for many postings with one call.
    pub(crate) async fn post_many(&self, request: String, pairs: &[(&str, &str)]) -> Result<(), Status> {
        let requests = pairs.iter().enumerate().map(|(at, (listing, account))| v1::CreatePostingRequest {
            request_id: format!("{request}-{at}"),
            listing_id: (*listing).to_owned(),
            account_id: (*account).to_owned(),
            priority: 0,
            again: true,
        });
        let request = self.request(v1::BatchCreatePostingsRequest { requests: requests.collect() });
        PostingServiceClient::new(self.channel.clone()).batch_create_postings(request).await.map(drop)
    }

    /// Asks for one posting: one call.
    pub(crate) async fn post(
        &self,
        request: String,
        listing: &str,
        account: &str,
    ) -> Result<v1::Posting, Status> {
        let request = self.request(v1::CreatePostingRequest {
            request_id: request,
            listing_id: listing.to_owned(),
            account_id: account.to_owned(),
            priority: 0,
            again: true,
        });
        let made = PostingServiceClient::new(self.channel.clone()).create_posting(request).await?;
        Ok(made.into_inner().posting.unwrap_or_default())
    }
}

impl Enrolled {
    /// What the agent shows at TLS.
    pub(crate) fn identity(&self) -> Result<ClientIdentity> {
        Ok(ClientIdentity {
            chain: tls::pem::certificates(self.chain_pem.as_bytes(), "chain")?,
            key: tls::pem::private_key(self.key_pem.as_bytes(), "key")?,
        })
    }
}

impl Shop {
    /// The pair of listing and account for the posting of that number. Pairs come round after [`Shop::pairs`] numbers;
    /// neighbours are on different accounts.
    pub(crate) fn pair(&self, number: usize) -> Option<(&str, &str)> {
        let account = self.accounts.get(number % self.accounts.len())?;
        let listing = self.listings.get(number / self.accounts.len() % self.listings.len())?;
        Some((listing, account))
    }

    /// How many postings can be open at once.
    pub(crate) fn pairs(&self) -> usize {
        self.accounts.len() * self.listings.len()
    }
}
