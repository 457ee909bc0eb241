//! Sealed credentials at the controller: who may set one, and which agent gets it, when.

use anyhow::Result;
use rcgen::{PublicKeyData, SigningKey};
use tonic::Status;
use tonic::transport::Channel;
use tradepost_proto::v1;
use tradepost_runtime::credential::{key_id, statement};
use v1::account_service_client::AccountServiceClient;
use v1::agent_credential_service_client::AgentCredentialServiceClient;

use crate::agent::{Agent, failed, run};
use crate::system::{System, User, reason};

const PUBLIC: [u8; 32] = [9; 32];

/// The agent tells its key, signed by `by`.
pub(crate) async fn tell(channel: &Channel, agent: &Agent, by: &rcgen::KeyPair) -> Result<(), Status> {
    let signature = by.sign(&statement(agent.id.parse().expect("an id"), &PUBLIC)).expect("signed");
    let identity_key = by.subject_public_key_info();
    let request = v1::TellCredentialKeyRequest { public_key: PUBLIC.to_vec(), identity_key, signature };
    AgentCredentialServiceClient::new(channel.clone()).tell_credential_key(request).await.map(drop)
}

async fn fetch(channel: &Channel, run: &v1::RunRef) -> Result<v1::FetchCredentialResponse, Status> {
    let request = v1::FetchCredentialRequest { run: Some(run.clone()) };
    let answer = AgentCredentialServiceClient::new(channel.clone()).fetch_credential(request).await?;
    Ok(answer.into_inner())
}

pub(crate) async fn set(
    user: &User,
    account: &str,
    agent: &str,
    generation: i64,
) -> Result<v1::Credential, Status> {
    let request = v1::SetCredentialRequest {
        account_id: account.into(),
        agent_id: agent.into(),
        key_id: key_id(&PUBLIC),
        generation,
        sealed: format!("ciphertext {generation}").into_bytes(),
    };
    let answer =
        AccountServiceClient::new(user.channel.clone()).set_credential(user.request(request)).await?;
    Ok(answer.into_inner().credential.unwrap_or_default())
}

async fn get(user: &User, account: &str) -> Result<v1::GetCredentialResponse, Status> {
    let request = user.request(v1::GetCredentialRequest { account_id: account.into() });
    Ok(AccountServiceClient::new(user.channel.clone()).get_credential(request).await?.into_inner())
}

async fn login(user: &User, account: &str, name: &str) -> Result<(), Status> {
    let request = v1::LoginAccountRequest { request_id: name.into(), id: account.into() };
    AccountServiceClient::new(user.channel.clone()).login_account(user.request(request)).await.map(drop)
}

#[tokio::test]
async fn a_credential_goes_to_the_accounts_agent_in_its_run_and_to_nobody_else() -> Result<()> {
    let system = System::start().await?;
    let user = system.user().await?;
    let (agent, other) = (Agent::enrol(&system, &user).await?, Agent::enrol(&system, &user).await?);
    let account = user.account("shop", &agent.id).await?.id;
    let mut stream = agent.attach(&system, &[]).await?;
    let theirs = other.attach(&system, &[]).await?;

    let refused = set(&user, &account, &agent.id, 1).await.expect_err("no key is told");
    assert_eq!(reason(&refused), "CREDENTIAL_OUTDATED");
    let refused = tell(&stream.channel, &agent, &other.key).await.expect_err("another's signature");
    assert_eq!(reason(&refused), "CREDENTIAL_KEY_UNSIGNED");
    let refused = tell(&theirs.channel, &agent, &agent.key).await.expect_err("for another agent");
    assert_eq!(reason(&refused), "CREDENTIAL_KEY_UNSIGNED");
    tell(&stream.channel, &agent, &agent.key).await?;
    tell(&theirs.channel, &other, &other.key).await?;
    let told = get(&user, &account).await?;
    assert_eq!((told.key.unwrap_or_default().public_key, told.credential), (PUBLIC.to_vec(), None));

    let refused = set(&user, &account, &other.id, 1).await.expect_err("not the account's agent");
    assert_eq!(reason(&refused), "CREDENTIAL_OUTDATED");
    set(&user, &account, &agent.id, 5).await?;
    let refused = set(&user, &account, &agent.id, 5).await.expect_err("no newer generation");
    assert_eq!(reason(&refused), "CREDENTIAL_OUTDATED");

    login(&user, &account, "l1").await?;
    let dispatch = stream.dispatch().await?;
    let first = run(&dispatch);
    stream.acknowledge(&first).await?;
    let handed = fetch(&stream.channel, &first).await?;
    assert_eq!((handed.sealed.as_slice(), handed.generation), (b"ciphertext 5".as_slice(), 5));
    for (channel, wrong) in [
        (&theirs.channel, first.clone()),
        (&stream.channel, v1::RunRef { run_lease: first.run_lease + 1, ..first.clone() }),
        (&stream.channel, v1::RunRef { job_id: uuid::Uuid::nil().to_string(), ..first.clone() }),
    ] {
        assert_eq!(reason(&fetch(channel, &wrong).await.expect_err("not its run")), "STALE_RUN");
    }
    let report = v1::ReportCredentialUseRequest {
        run: Some(first.clone()),
        generation: 5,
        outcome: v1::CredentialUse::Refused.into(),
    };
    let refused =
        AgentCredentialServiceClient::new(theirs.channel.clone()).report_credential_use(report.clone()).await;
    assert_eq!(reason(&refused.expect_err("not its run")), "STALE_RUN");
    AgentCredentialServiceClient::new(stream.channel.clone()).report_credential_use(report).await?;
    let told = get(&user, &account).await?.credential.unwrap_or_default();
    assert_eq!(told.state(), v1::CredentialState::Refused);
    assert_eq!(fetch(&stream.channel, &first).await?.sealed, b"", "a refused one is not handed out");

    set(&user, &account, &agent.id, 6).await?;
    assert_eq!(fetch(&stream.channel, &first).await?.generation, 6);
    stream.end(&first, failed("needs_login")).await?;
    user.bind(&account, &other.id).await?;
    let told = get(&user, &account).await?.credential.unwrap_or_default();
    assert_eq!((told.state(), told.generation), (v1::CredentialState::Moved, 6));
    let stranger = system.stranger().await?;
    for refused in
        [get(&stranger, &account).await.map(drop), set(&stranger, &account, &other.id, 9).await.map(drop)]
    {
        assert_eq!(reason(&refused.expect_err("foreign")), "ACCOUNT_NOT_FOUND");
    }
    Ok(())
}
