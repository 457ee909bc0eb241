//! Asking a person: on the terminal, or a line of standard input each, so that scripts can answer too.

use std::io::{self, IsTerminal};

use secrecy::SecretString;

use crate::error::{Error, Result};

/// Whether somebody can be asked without taking standard input from a script.
pub(crate) fn has_terminal() -> bool {
    io::stdin().is_terminal()
}

/// A secret that is not shown while it is typed.
pub(crate) fn secret(what: &str) -> Result<SecretString> {
    if has_terminal() {
        return rpassword::prompt_password(format!("{what} (not shown): "))
            .map(SecretString::from)
            .map_err(|error| Error::usage(format!("cannot read from the terminal: {error}")));
    }
    line(what).map(SecretString::from)
}

/// A short text, such as a code.
pub(crate) fn text(what: &str) -> Result<String> {
    if has_terminal() {
        anstream::eprint!("{what}: ");
    }
    line(what)
}

/// A question with yes or no.
pub(crate) fn yes(what: &str) -> Result<bool> {
    Ok(text(what)?.trim().to_lowercase().starts_with('y'))
}

fn line(what: &str) -> Result<String> {
    let mut line = String::new();
    let read = io::stdin()
        .read_line(&mut line)
        .map_err(|error| Error::usage(format!("cannot read from standard input: {error}")))?;
    let line = line.trim_end_matches(['\r', '\n']).to_owned();
    if read == 0 || line.is_empty() {
        return Err(Error::usage(format!("nothing was given for: {what}")));
    }
    Ok(line)
}
