//! People who sign in.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use anyhow::{Context, Result};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};
use totp_rs::{Builder, Secret, Totp};
use tradepost_controller::service::people::Peer;
use tradepost_proto::v1;
use tradepost_runtime::clock::Clock;
use v1::auth_service_client::AuthServiceClient;
use v1::second_factor_service_client::SecondFactorServiceClient;
use v1::user_service_client::UserServiceClient;
use v1::workspace_service_client::WorkspaceServiceClient;

use crate::raw;
use crate::system::System;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Somebody with a session, at an address of their own.
pub(crate) struct Person {
    pub(crate) channel: Channel,
    pub(crate) address: String,
    pub(crate) tokens: v1::SessionTokens,
}

/// An address that nobody else in this process has.
pub(crate) fn fresh_address() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    format!("192.0.2.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The name of a request that nobody else in this process has.
pub(crate) fn fresh_request() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("request-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A request from an address, as a trusted proxy passes it on.
pub(crate) fn from<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", MetadataValue::try_from(address).expect("ASCII"));
    request
}

pub(crate) async fn login(
    channel: &Channel,
    address: &str,
    email: &str,
    password: &str,
    code: &str,
) -> Result<v1::SessionTokens, Status> {
    let message = v1::LoginRequest {
        email: email.into(),
        password: password.into(),
        code: code.into(),
        client: "test".into(),
    };
    let answer = AuthServiceClient::new(channel.clone()).login(from(address, message)).await?;
    Ok(answer.into_inner().tokens.unwrap_or_default())
}

impl System {
    /// A registered and approved user with a workspace of their own, signed in.
    pub(crate) async fn person(&self, name: &str) -> Result<Person> {
        let email = format!("{name}@example.com");
        let operator = self.user().await?;
        let address = fresh_address();
        let message = v1::RegisterRequest { email: email.clone(), password: PASSWORD.into() };
        AuthServiceClient::new(operator.channel.clone()).register(from(&address, message)).await?;
        let user = self.find_user(&email).await?;
        let approval = v1::ApproveUserRequest { id: user.id, workspace_name: format!("{name}'s shop") };
        UserServiceClient::new(operator.channel.clone()).approve_user(operator.request(approval)).await?;
        self.sign_in(&email, &address).await
    }

    pub(crate) async fn sign_in(&self, email: &str, address: &str) -> Result<Person> {
        let channel = self.channel(&self.api, None).await?;
        let tokens = login(&channel, address, email, PASSWORD, "").await?;
        Ok(Person { channel, address: address.to_owned(), tokens })
    }

    pub(crate) async fn find_user(&self, email: &str) -> Result<v1::User> {
        let operator = self.user().await?;
        let request = operator.request(v1::ListUsersRequest::default());
        let users =
            UserServiceClient::new(operator.channel.clone()).list_users(request).await?.into_inner().users;
        users.into_iter().find(|user| user.email == email).context("no such user")
    }
}

impl Person {
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = from(&self.address, message);
        let value = MetadataValue::try_from(format!("Bearer {}", self.tokens.access_token)).expect("ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }

    /// A request in another workspace.
    pub(crate) fn request_in<T>(&self, workspace: &str, message: T) -> Request<T> {
        let mut request = self.request(message);
        request
            .metadata_mut()
            .insert("tradepost-workspace", MetadataValue::try_from(workspace).expect("ASCII"));
        request
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer { address: self.address.parse().expect("an address") }
    }

    pub(crate) fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.channel.clone())
    }

    pub(crate) fn factors(&self) -> SecondFactorServiceClient<Channel> {
        SecondFactorServiceClient::new(self.channel.clone())
    }

    pub(crate) fn workspaces(&self) -> WorkspaceServiceClient<Channel> {
        WorkspaceServiceClient::new(self.channel.clone())
    }

    pub(crate) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn who(&self) -> Result<v1::WhoAmIResponse, Status> {
        Ok(self.auth().who_am_i(self.request(v1::WhoAmIRequest {})).await?.into_inner())
    }

    pub(crate) async fn refresh(&self, token: &str) -> Result<v1::SessionTokens, Status> {
        let message = v1::RefreshSessionRequest { refresh_token: token.into() };
        let answer = self.auth().refresh_session(from(&self.address, message)).await?;
        Ok(answer.into_inner().tokens.unwrap_or_default())
    }

    pub(crate) async fn invite(&self, email: &str, role: v1::Role) -> Result<String, Status> {
        let message = v1::CreateInvitationRequest {
            email: email.into(),
            role: role.into(),
            ttl: None,
            request_id: fresh_request(),
        };
        Ok(self.workspaces().create_invitation(self.request(message)).await?.into_inner().secret)
    }

    pub(crate) async fn join(&self, invitation: &str) -> Result<v1::Workspace, Status> {
        let message = v1::JoinWorkspaceRequest { invitation: invitation.into() };
        let joined = self.workspaces().join_workspace(self.request(message)).await?;
        Ok(joined.into_inner().workspace.unwrap_or_default())
    }

    /// An API token of theirs.
    pub(crate) async fn api_token(&self, scopes: &[&str]) -> Result<String, Status> {
        let message = v1::CreateTokenRequest {
            name: "ci".into(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ttl: None,
            request_id: fresh_request(),
        };
        let made = v1::token_service_client::TokenServiceClient::new(self.channel.clone())
            .create_token(self.request(message))
            .await?;
        Ok(made.into_inner().secret)
    }

    /// Whether a method lets a token through.
    pub(crate) async fn may(&self, token: &str, path: &str, message: impl Message) -> Result<(), Status> {
        raw::call(&self.channel, path, message.encode_to_vec(), Some(token)).await.map(drop)
    }

    /// Sets up a second factor; returns the authenticator and the recovery codes.
    pub(crate) async fn set_up_factor(&self, system: &System) -> Result<(Totp, Vec<String>)> {
        let begun = self.factors().begin_second_factor(self.request(v1::BeginSecondFactorRequest {})).await?;
        let begun = begun.into_inner();
        anyhow::ensure!(begun.uri.starts_with("otpauth://totp/Tradepost"), "{}", begun.uri);
        let totp = Builder::new().with_secret(Secret::try_from_base32(&begun.secret)?).build()?;
        let code = code(&totp, system);
        let confirmed = self
            .factors()
            .confirm_second_factor(self.request(v1::ConfirmSecondFactorRequest { code }))
            .await?;
        Ok((totp, confirmed.into_inner().recovery_codes))
    }
}

/// What the authenticator shows now.
pub(crate) fn code(totp: &Totp, system: &System) -> String {
    let seconds = u64::try_from(system.clock.now().as_micros() / 1_000_000).expect("after 1970");
    totp.generate(seconds).to_string()
}
