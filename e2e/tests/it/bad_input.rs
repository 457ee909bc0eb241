//! What a new user gets wrong: each ends in one clear line with the mend, and an exit code that is not zero.

use anyhow::Result;
use tradepost_e2e::cli::{Finished, run};
use tradepost_e2e::system::System;
use tradepost_testkit::photos;

fn check(what: &str, finished: &Finished, words: &[&str]) {
    let Finished { code, stdout, stderr } = finished;
    assert_ne!(*code, 0, "{what}: ended with 0\n{stdout}\n{stderr}");
    let says = |line: &str| {
        ["error: ", "controller: ", "tradepost-agent: "].iter().any(|start| line.starts_with(start))
    };
    assert!(stderr.lines().any(says), "{what}: no error line\n{stderr}");
    for word in words {
        assert!(stderr.to_lowercase().contains(&word.to_lowercase()), "{what}: {word:?} is not in\n{stderr}");
    }
    assert!(!stderr.contains("panicked") && !stderr.contains("stack backtrace"), "{what}: {stderr}");
    assert!(stderr.lines().count() <= 12, "{what}: too many words\n{stderr}");
}

#[tokio::test]
async fn programs_that_cannot_start_say_why() -> Result<()> {
    let system = System::new(&[])?;
    let controller = system.start_controller("controller", &system.sqlite()).await?;
    let taken = controller.api.trim_start_matches("https://").to_owned();
    let at = |name: &str| system.path().join(name).display().to_string();
    let data = at("other");
    let free =
        ["--api-listen", "127.0.0.1:0", "--agents-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];

    let port = ["--database", &format!("sqlite:{}", at("o.db")), "--data-dir", &data, "--api-listen", &taken];
    check("port taken", &run("controller", &port, &[], "").await?, &[&taken, "in use"]);

    let file = at("a-file");
    std::fs::write(&file, "not a directory")?;
    let below = format!("{file}/data");
    let mut arguments = vec!["--data-dir", below.as_str()];
    arguments.extend(free);
    check("data directory below a file", &run("controller", &arguments, &[], "").await?, &[&file]);

    let nowhere = format!("sqlite:{file}/x.db");
    let mut arguments = vec!["--database", nowhere.as_str(), "--data-dir", &data];
    arguments.extend(free);
    check("database below a file", &run("controller", &arguments, &[], "").await?, &[&file]);

    let mut arguments = vec!["--database", "postgres://nobody@127.0.0.1:1/none", "--data-dir", &data];
    arguments.extend(free);
    check("no PostgreSQL there", &run("controller", &arguments, &[], "").await?, &["127.0.0.1"]);

    let mut arguments = vec!["--database", "mysql://x", "--data-dir", &data];
    arguments.extend(free);
    check("unknown engine", &run("controller", &arguments, &[], "").await?, &["sqlite:", "postgres:"]);

    let same = system.sqlite();
    let mut arguments = vec!["--database", same.as_str(), "--data-dir", &data];
    arguments.extend(free);
    check("database in use", &run("controller", &arguments, &[], "").await?, &["controller"]);

    let agent = at("agent");
    let check_chrome = ["--data-dir", &agent, "check", "--chrome", "/nonexistent/chrome"];
    let report = run("tradepost-agent", &check_chrome, &[], "").await?;
    assert_ne!(report.code, 0);
    assert!(
        report.stdout.contains("FAIL  Chrome") && report.stdout.contains("/nonexistent/chrome"),
        "{report:?}"
    );
    let unenrolled = ["--data-dir", &agent, "run", "--headless"];
    check("not enrolled", &run("tradepost-agent", &unenrolled, &[], "").await?, &["enrol"]);
    let nonsense = ["--data-dir", &agent, "enrol", "nonsense"];
    check("no enrolment string", &run("tradepost-agent", &nonsense, &[], "").await?, &["enrolment string"]);
    Ok(())
}

#[tokio::test]
async fn commands_that_are_wrong_say_what_to_mend() -> Result<()> {
    let system = System::new(&[])?;
    let controller = system.start_controller("controller", &system.sqlite()).await?;
    system.log_in(&controller).await?;
    let cli = &system.cli;
    let write = |name: &str, content: &[u8]| -> Result<String> {
        let path = system.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path.display().to_string())
    };
    let empty = write("empty.jpg", b"")?;
    let text = write("text.jpg", b"this is no picture")?;
    let fine = write("fine.jpg", &photos::jpeg(1))?;

    let yaml = write(
        "bad.yaml",
        format!("title: x\nprice: abc\ncategory: Home > Furniture\ncondition: shiny\nlocation: Berlin\nphotos: [{empty}, missing.jpg]\n")
            .as_bytes(),
    )?;
    let finished = cli.run(&["listings", "create", "--file", &yaml]).await?;
    check(
        "four faults in a file",
        &finished,
        &["price", "abc", "condition", "shiny", "empty.jpg", "missing.jpg"],
    );
    let yaml = write("key.yaml", b"titel: x\n")?;
    check("unknown key", &cli.run(&["listings", "create", "--file", &yaml]).await?, &["titel", "title"]);
    let yaml = write("broken.yaml", b"title: [x\n")?;
    check("broken YAML", &cli.run(&["listings", "create", "--file", &yaml]).await?, &["broken.yaml:2"]);
    assert_eq!(
        cli.json(&["listings", "list"]).await?.as_array().map(Vec::len),
        Some(0),
        "something was created"
    );

    let listing = |photo: &str, category: &str| -> Vec<String> {
        [
            "listings",
            "create",
            "--title",
            "A lamp",
            "--price",
            "15 EUR",
            "--category",
            category,
            "--condition",
            "good",
            "--location",
            "Berlin",
            "--photos",
            photo,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let arguments = listing(&text, "Home > Furniture");
    let finished = cli.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    check("a text as a photo", &finished, &["text.jpg"]);

    // What only the site's limits tell is told when a posting is asked for.
    let mut arguments = listing(&fine, "Spaceships > Used");
    arguments.extend(["-o".to_owned(), "json".to_owned()]);
    let created = cli.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    assert_eq!(created.code, 0, "{}", created.stderr);
    let created: serde_json::Value = serde_json::from_str(&created.stdout)?;
    let id = created
        .pointer("/0/id")
        .or_else(|| created.get("id"))
        .and_then(serde_json::Value::as_str)
        .unwrap_or("");
    let string = cli.text(&["agents", "enrol-token", "create"]).await?;
    let agent = system.path().join("agent").display().to_string();
    run("tradepost-agent", &["--data-dir", &agent, "enrol", string.trim(), "--name", "pc"], &[], "").await?;
    let agents = cli.json(&["agents", "list"]).await?;
    let agent = agents[0]["id"].as_str().unwrap_or_default().to_owned();
    let add =
        ["accounts", "add", "a", "--site", "sandbox", "--site-url", "http://127.0.0.1:1/", "--agent", &agent];
    cli.text(&add).await?;
    let finished = cli.run(&["postings", "create", "--listing", id, "--account", "a"]).await?;
    check("unknown category", &finished, &["category", "Spaceships"]);

    let add = ["accounts", "add", "b", "--site", "nosuch", "--site-url", "http://example.com/"];
    check("unknown site", &cli.run(&add).await?, &["site"]);
    check(
        "no such posting",
        &cli.run(&["postings", "show", "018f0000-0000-7000-8000-000000000000"]).await?,
        &["posting"],
    );

    let ca = system.path().join("identity/ca.pem").display().to_string();
    let wrong = write("token", b"tp_wrong")?;
    let with = ["whoami", "--server", &controller.api, "--ca-file", &ca, "--token-file", &wrong];
    let finished = cli.run(&with).await?;
    check("wrong token", &finished, &["token"]);
    let nobody = ["whoami", "--server", "https://127.0.0.1:1", "--ca-file", &ca, "--token-file", &wrong];
    let finished = cli.run(&nobody).await?;
    check("unreachable controller", &finished, &["127.0.0.1:1"]);
    Ok(())
}
