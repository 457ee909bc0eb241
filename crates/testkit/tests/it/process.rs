//! Spawned processes.

use std::process::Command;
use std::time::Duration;

use tradepost_testkit::Spawned;
use tradepost_testkit::process::Stream;

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Spawned {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Spawned::start("shell", command).unwrap()
}

#[tokio::test]
async fn awaited_line_gives_its_captures() {
    let mut process = shell("echo listening on 127.0.0.1:4711 >&2; exec sleep 60");
    let captures = process.wait_for_line(r"listening on (\S+):(\d+)", SOON).await.unwrap();
    assert_eq!(captures[1..], ["127.0.0.1", "4711"]);
    assert!(process.is_running());
    let status = process.terminate(SOON).await.unwrap();
    assert!(!status.success());
}

#[tokio::test]
async fn process_that_ends_early_shows_its_logs() {
    let mut process = shell("echo port taken >&2; exit 3");
    let error = process.wait_for_line("never", SOON).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("port taken"), "{error}");
    assert_eq!(process.output(Stream::Err), "port taken\n");
}

#[tokio::test]
async fn dropped_process_is_killed() {
    let process = shell("exec sleep 60");
    let pid = process.pid();
    drop(process);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
