//! Signing in with a password, and what belongs to it: registration, passwords, the second factor.

use qrcode::render::unicode;
use qrcode::{EcLevel, QrCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::connect;
use super::login::context_name;
use crate::args::people::{PasswordCommand, RegisterArguments, SecondFactorCommand};
use crate::args::{Global, host_name};
use crate::client::{Client, Login};
use crate::config::{Contexts, Settings};
use crate::error::{Error, Result};
use crate::output::{Output, text};
use crate::prompt;
use crate::vault::SessionSecrets;

/// Asks for the password, and for a code where one is needed.
pub(super) async fn session(client: &Client, email: &str) -> Result<SessionSecrets> {
    let password = prompt::secret(&format!("Password of {email}"))?;
    let name = host_name().map_or_else(|| String::from("tradepost"), |host| format!("tradepost on {host}"));
    let name: String = name.chars().take(80).collect();
    match client.login(email, &password, "", &name).await? {
        Login::Done(secrets) => Ok(secrets),
        Login::NeedsCode => {
            let code = prompt::text("Code of your authenticator, or a recovery code")?;
            match client.login(email, &password, &code, &name).await? {
                Login::Done(secrets) => Ok(secrets),
                Login::NeedsCode => Err(Error::usage("no code was given")),
            }
        }
    }
}

pub(super) async fn register(arguments: RegisterArguments, global: &Global, output: &Output) -> Result<()> {
    let RegisterArguments { email, invitation } = arguments;
    let client = anonymous(global).await?;
    let password = new_password()?;
    match invitation {
        None => {
            client.register(email, &password).await?;
            output.message(
                "An operator will look at it. Once they let you in, `tradepost login --email` works.",
            );
        }
        Some(invitation) => {
            let workspace = client.accept_invitation(invitation, email.clone(), &password).await?;
            output.message(&format!("You are a member of {workspace:?} now."));
            output.hint(&format!("sign in: tradepost login --email {email}"));
        }
    }
    Ok(())
}

pub(super) async fn step_up(client: &Client, output: &Output) -> Result<()> {
    let until = client.step_up().await?;
    output.message(&format!("Proven; good until {}.", text::absolute(until)));
    Ok(())
}

pub(super) async fn password(command: PasswordCommand, global: &Global, output: &Output) -> Result<()> {
    match command {
        PasswordCommand::Change => {
            let client = connect(global).await?;
            let before = prompt::secret("Present password")?;
            client.change_password(&before, &new_password()?).await?;
            output.message("The password is changed; your other sessions have ended.");
        }
        PasswordCommand::Reset { reset } => {
            let client = anonymous(global).await?;
            client.reset_password(reset, &new_password()?).await?;
            output.message("The password is set; all sessions and API tokens of yours have ended.");
            output.hint("sign in: tradepost login --email ADDRESS");
        }
    }
    Ok(())
}

pub(super) async fn second_factor(
    command: SecondFactorCommand,
    client: &Client,
    output: &Output,
) -> Result<()> {
    match command {
        SecondFactorCommand::SetUp => {
            let (seed, uri) = client.begin_second_factor().await?;
            output.say(&qr(&uri)?);
            output.say(&format!(
                "Scan this with your authenticator, or type in: {}",
                spaced(seed.expose_secret())
            ));
            let code = prompt::text("The code that it shows now")?;
            let codes = client.confirm_second_factor(code.trim().to_owned()).await?;
            output.message("The second factor is set up: signing in needs a code from now on.");
            show_codes(output, &codes)
        }
        SecondFactorCommand::RecoveryCodes => show_codes(output, &client.replace_recovery_codes().await?),
        SecondFactorCommand::Remove => {
            client.remove_second_factor().await?;
            output.message("The second factor is removed; your other sessions have ended.");
            Ok(())
        }
    }
}

/// A client for calls that anyone may make.
async fn anonymous(global: &Global) -> Result<Client> {
    let contexts = Contexts::load(global)?;
    let settings = Settings::for_anyone(global, &contexts, &context_name(&contexts, global))?;
    Client::connect(&settings, global.timeout).await
}

fn new_password() -> Result<SecretString> {
    let first = prompt::secret("New password, at least 12 characters")?;
    if prompt::has_terminal() {
        let again = prompt::secret("The same again")?;
        if first.expose_secret() != again.expose_secret() {
            return Err(Error::usage("the two differ; nothing was changed"));
        }
    }
    Ok(first)
}

/// Dark modules as blank and light ones as full blocks, two rows to a line: read by cameras on dark terminals, which most
/// are, and by most authenticators on light ones as well.
fn qr(uri: &SecretString) -> Result<String> {
    let code = QrCode::with_error_correction_level(uri.expose_secret(), EcLevel::L)
        .map_err(|error| Error::failed(format!("cannot draw the QR code: {error}")))?;
    Ok(code
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Dark)
        .light_color(unicode::Dense1x2::Light)
        .build())
}

/// In groups of four, which are easier to type.
fn spaced(seed: &str) -> String {
    let characters: Vec<char> = seed.chars().collect();
    characters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

fn show_codes(output: &Output, codes: &[String]) -> Result<()> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Codes<'a> {
        recovery_codes: &'a [String],
    }
    output.one(&Codes { recovery_codes: codes }, &codes.join("\n"), || codes.join("\n"))?;
    output.message(
        "Keep these recovery codes apart from your authenticator: each works once, in place of a code.",
    );
    Ok(())
}
