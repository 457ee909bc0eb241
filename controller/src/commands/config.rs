//! `controller config check`.

use std::process::ExitCode;

use secrecy::ExposeSecret;
use tradepost_controller::args::Args;
use tradepost_controller::config::{Config, EXAMPLE};
use tradepost_runtime::config::Setting;

use super::{remark, say};

/// Prints what holds; its problems were told before.
pub(crate) fn check(args: &Args, config: &Config) -> ExitCode {
    let mut settings = Config::sources(args).settings(EXAMPLE);
    let risks = config.risks(&settings, args.config.as_deref());
    for (key, value) in [
        ("data_dir", config.data_dir.display().to_string()),
        ("identity_dir", config.identity_folder().display().to_string()),
        ("secrets.keys_file", config.identity_folder().join("secrets.key").display().to_string()),
        ("database.url", config.database_url()),
    ] {
        let set = settings.iter().any(|setting| setting.key == key);
        let elsewhere = key == "secrets.keys_file" && config.secrets.keys.is_some();
        if !set && !elsewhere {
            let origin = String::from("default");
            settings.push(Setting { key: key.to_owned(), value, origin });
        }
    }
    if let Some(url) = &config.database.url {
        for setting in settings.iter_mut().filter(|setting| setting.key == "database.url") {
            setting.value = without_password(url.expose_secret());
        }
    }
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    let width =
        |of: fn(&Setting) -> &str| settings.iter().map(|setting| of(setting).len()).max().unwrap_or(0);
    let (keys, values) = (width(|setting| &setting.key), width(|setting| &setting.value).min(44));
    let lines: Vec<String> = settings
        .iter()
        .map(|Setting { key, value, origin }| format!("{key:<keys$}  {value:<values$}  {origin}"))
        .collect();
    let code = say(&lines.join("\n"));
    for risk in &risks {
        remark(format_args!("warning: {risk}"));
    }
    remark(if risks.is_empty() {
        "the configuration is right"
    } else {
        "the configuration is right, but see the warnings"
    });
    code
}

/// An address without what is secret in it; none of it where that cannot be told.
fn without_password(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.to_owned();
    }
    match url::Url::parse(url) {
        Ok(mut parsed) => {
            let hidden = parsed.password().is_none() || parsed.set_password(Some("***")).is_ok();
            // Options may hold a password, too.
            if parsed.query().is_some() {
                parsed.set_query(Some("…"));
            }
            if hidden { parsed.to_string() } else { String::from("********") }
        }
        Err(_) => String::from("********"),
    }
}
