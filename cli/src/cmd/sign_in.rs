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
use crate::error::{Error, Exit, Result};
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
            client.register(email.clone(), &password).await?;
            output
                .message("Thank you. An operator will look at it; until they let you in you cannot sign in.");
            output.hint(&format!("then: tradepost login --email {email}"));
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
            let codes = confirm(client, output).await?;
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

/// The code that the new authenticator shows; somebody at a terminal may mistype it twice.
async fn confirm(client: &Client, output: &Output) -> Result<Vec<String>> {
    let mut left = if prompt::has_terminal() { 3 } else { 1 };
    loop {
        left -= 1;
        let code = prompt::text("The code that it shows now")?;
        match client.confirm_second_factor(code.trim().to_owned()).await? {
            Some(codes) => return Ok(codes),
            None if left > 0 => output.warning("that code is wrong; try the next one"),
            None => {
                let clock = "is this computer's clock, or the phone's, wrong? a minute is too much";
                return Err(Error::new(Exit::Denied, "the code is wrong; nothing was set up").hint(clock));
            }
        }
    }
}

/// Light modules as full blocks in white, dark ones as blanks on black, two rows to a line: dark on light is what every
/// camera reads. Where the terminal shows no colours it is right on dark ones, which most are.
fn qr(uri: &SecretString) -> Result<String> {
    const WHITE_ON_BLACK: &str = "\u{1b}[38;5;231;48;5;16m";
    const USUAL: &str = "\u{1b}[0m";
    let code = QrCode::with_error_correction_level(uri.expose_secret(), EcLevel::L)
        .map_err(|error| Error::failed(format!("cannot draw the QR code: {error}")))?;
    // The library draws what it calls dark as a block.
    let drawn = code
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build();
    let lines: Vec<String> = drawn.lines().map(|line| format!("{WHITE_ON_BLACK}{line}{USUAL}")).collect();
    Ok(lines.join("\n"))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A QR code that is drawn in negative is read by few authenticators.
    #[test]
    fn the_qr_code_is_dark_on_light() {
        let drawn = qr(&SecretString::from("otpauth://totp/Tradepost:ada?secret=ABC")).expect("drawn");
        let plain: Vec<String> = drawn
            .lines()
            .map(|line| line.chars().filter(|c| [' ', '▀', '▄', '█'].contains(c)).collect())
            .collect();
        // The border of four light modules, then a corner's mark: seven dark ones around five light ones.
        assert!(plain[0].chars().all(|c| c == '█') && plain[1] == plain[0], "{drawn}");
        assert!(plain[2].starts_with("████ ▄▄▄▄▄ █"), "{drawn}");
    }
}
