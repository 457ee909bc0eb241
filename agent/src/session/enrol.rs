//! How an agent becomes known to its controller.

use tonic::Status;
use tonic::transport::Channel;
use tradepost_domain::standing::{CERTIFICATE_LIFE, ENROLMENT_NAME};
use tradepost_proto::enrolment::EnrolmentString;
use tradepost_proto::v1;
use tradepost_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use tradepost_runtime::clock::{Clock, SystemClock};
use tradepost_runtime::tls::{self, Connector};

use super::convert;
use super::link::{LinkError, LinkFault};
use super::remote::{endpoint, link_error};
use crate::identity::{self, Identity, IdentityStore};
use crate::platform;

/// Why enrolment did not work; each is one line with the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// By what is on this PC.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// By this PC's TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The key could not be used.
    #[error("cannot make the request for a certificate: {0}")]
    Key(#[from] rcgen::Error),
    /// No connection.
    #[error(
        "cannot reach the controller at {address}: {problem}; see that it runs and that this PC may connect to it"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What happened.
        problem: String,
    },
    /// Somebody else answers.
    #[error(
        "the controller at {0} is not the one that made this enrolment string (its certificate's root differs); make a new string with `tradepost agents enrol-token create` there"
    )]
    Pin(String),
    /// The controller says no.
    #[error("the controller refused the enrolment: {problem}")]
    Refused {
        /// Its words.
        problem: String,
    },
    /// The answer is not usable.
    #[error(
        "the controller's answer is not usable: {0}; see that agent and controller have the same version"
    )]
    Answer(String),
}

/// Enrols this PC and keeps the identity. Repeating it after a lost answer gives the same one.
pub async fn enrol(store: &IdentityStore, string: &EnrolmentString, name: &str) -> Result<Identity, Error> {
    store.require_none()?;
    let key = store.key_for_enrolment()?;
    let request = v1::EnrolRequest {
        token: string.secret.clone(),
        csr_pem: identity::signing_request(&key)?,
        name: name.to_owned(),
        platform: platform::name(),
        version: tradepost_runtime::build::describe(),
    };
    let channel = connect(string).await?;
    let answer = EnrolmentServiceClient::new(channel).enrol(request).await;
    let answer = answer.map_err(|status| refusal(string, &status))?.into_inner();
    let v1::EnrolResponse { agent_id, certificate_chain_pem, root_pem, agents_address, life, trust_digest } =
        answer;
    let life = convert::duration(life).unwrap_or(CERTIFICATE_LIFE);
    let identity = Identity {
        agent: agent_id.parse().map_err(|error| Error::Answer(format!("{error}")))?,
        name: name.to_owned(),
        agents_address,
        enrolled_at: string.address.clone(),
        certificate_chain: certificate_chain_pem,
        root: root_pem,
        issued_at: Some(Clock::now(&SystemClock)),
        life_seconds: life.as_secs(),
        trust_digest,
    };
    // Only an identity that works is kept.
    identity.tls(&key.serialize_pem().into()).map_err(|error| Error::Answer(error.to_string()))?;
    store.store(&identity)?;
    Ok(identity)
}

async fn connect(string: &EnrolmentString) -> Result<Channel, Error> {
    // Under this name the api listener shows a certificate of the controller's own authority, whatever it shows to browsers.
    let name = ENROLMENT_NAME.try_into().map_err(|_| Error::Answer(String::from("the name is none")))?;
    let connector = Connector::new(tls::pinned_client_config(string.pin)?).with_server_name(name);
    let address = &string.address;
    let unreachable = |problem: String| Error::Unreachable { address: address.clone(), problem };
    let endpoint = endpoint(address).map_err(|error| unreachable(error.message))?;
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        let causes = causes(&error);
        if causes.iter().any(|cause| cause.contains("invalid peer certificate: UnknownIssuer")) {
            return Error::Pin(address.clone());
        }
        unreachable(causes.into_iter().next_back().unwrap_or_default())
    })
}

fn refusal(string: &EnrolmentString, status: &Status) -> Error {
    let LinkError { fault, message, .. } = link_error(status);
    match fault {
        LinkFault::Unavailable => Error::Unreachable { address: string.address.clone(), problem: message },
        LinkFault::Identity | LinkFault::Refused => {
            Error::Refused { problem: message.trim_end_matches('.').to_owned() }
        }
    }
}

fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}
