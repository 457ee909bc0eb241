//! A controller restarts, and all of its agents come back and renew their certificates: `make bench-stampede`.
//!
//! The controller is a process of its own, on SQLite or with `DATABASE=postgres` on PostgreSQL; the agents are the agent's own session code in this one, each with a data
//! directory and a connection of its own, without Chrome. Reported are the times from the controller's readiness until each
//! agent is welcomed again, the times of a renewal that all begin at once, the jobs that were under way, and the controller's
//! processor time and memory. `AGENTS` and `JOBS` change the numbers.

#![expect(clippy::print_stdout, reason = "a benchmark's report")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use tradepost_agent::identity::IdentityStore;
use tradepost_agent::journal::{Journal, RunKey};
use tradepost_agent::platform::clock::SystemClocks;
use tradepost_agent::session::enrol;
use tradepost_agent::session::frame::{Dispatch, Ending};
use tradepost_agent::session::keeper::Keeper;
use tradepost_agent::session::live::{Live, Runs};
use tradepost_agent::session::remote::RemoteController;
use tradepost_agent::session::state::{Local, State};
use tradepost_agent::wake::{Confirmed, Wake};
use tradepost_domain::id::{BootId, SessionEpoch};
use tradepost_proto::v1;
use tradepost_runtime::clock::{Clock, SystemClock};
use tradepost_runtime::config;
use tradepost_runtime::ids::Ids;
use tradepost_runtime::tasks::Tasks;
use tradepost_runtime::tls::{self, Connector};
use tradepost_testkit::database::Durability;
use tradepost_testkit::process::{binary, free_port};
use tradepost_testkit::{Spawned, TestDatabase, wait};
use v1::account_service_client::AccountServiceClient;
use v1::agent_service_client::AgentServiceClient;
use v1::job_service_client::JobServiceClient;

const DEADLINE: Duration = Duration::from_secs(180);

/// The controller's process and how to reach it.
struct Controller {
    folder: PathBuf,
    database: Arc<TestDatabase>,
    api: u16,
    agents: u16,
    process: Spawned,
}

/// One agent's session.
struct Agent {
    keeper: Arc<Keeper>,
    epoch: watch::Receiver<Option<SessionEpoch>>,
    /// Ends the runs that it was given.
    release: watch::Sender<bool>,
}

/// Runs that wait until they may end.
struct WaitingRuns {
    events: mpsc::Sender<Local>,
    release: watch::Receiver<bool>,
    tasks: Tasks,
}

impl Runs for WaitingRuns {
    fn start(&self, dispatch: Dispatch) {
        let (events, mut release) = (self.events.clone(), self.release.clone());
        self.tasks.spawn("run", async move {
            // An error says that the benchmark is over.
            drop(release.wait_for(|released| *released).await);
            drop(events.send(Local::Ended(dispatch.run, Ending::Succeeded)).await);
        });
    }

    fn stop(&self, _: RunKey) {}
}

impl Controller {
    async fn start(folder: &Path, database: Arc<TestDatabase>, api: u16, agents: u16) -> Result<Self> {
        let mut command = Command::new(binary("controller")?);
        command.args(["--data-dir".as_ref(), folder.as_os_str()]);
        command.args(["--database", database.url()]);
        command.args([
            "--api-listen",
            &format!("127.0.0.1:{api}"),
            "--agents-listen",
            &format!("127.0.0.1:{agents}"),
        ]);
        command.args(["--metrics-listen", "", "--log", "warn"]);
        let mut process = Spawned::start("controller", command)?;
        process.wait_for_line("^controller ready", DEADLINE).await?;
        Ok(Self { folder: folder.to_owned(), database, api, agents, process })
    }

    async fn restart(mut self) -> Result<Self> {
        self.process.kill()?;
        Self::start(&self.folder, self.database, self.api, self.agents).await
    }

    fn token(&self) -> Result<String> {
        let output = Command::new(binary("controller")?)
            .args(["--data-dir".as_ref(), self.folder.as_os_str()])
            .args(["--database", self.database.url()])
            .args(["admin", "create", "--email", "bench@example.com"])
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    async fn channel(&self) -> Result<Channel> {
        let root = std::fs::read(self.folder.join("identity/ca.pem"))?;
        let roots = tls::pem::roots(&tls::pem::certificates(&root, "root")?)?;
        let connector = Connector::new(tls::client_config(roots, None)?);
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.api))?;
        Ok(endpoint.connect_with_connector(connector).await?)
    }

    /// Processor time so far, and memory now and at its peak in MiB.
    fn usage(&self) -> Result<(Duration, u64, u64)> {
        let proc = PathBuf::from("/proc").join(self.process.pid().to_string());
        let stat = std::fs::read_to_string(proc.join("stat"))?;
        let fields: Vec<&str> = stat.rsplit_once(") ").context("stat")?.1.split(' ').collect();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let status = std::fs::read_to_string(proc.join("status"))?;
        let mib = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("status")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
        };
        // Linux counts a hundred ticks in a second.
        Ok((Duration::from_millis(ticks * 10), mib("VmRSS:")?, mib("VmHWM:")?))
    }
}

fn with_token<T>(token: &str, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    Ok(request)
}

async fn enrolled(channel: &Channel, token: &str, folder: &Path, tasks: &Tasks) -> Result<Agent> {
    let request = with_token(token, v1::CreateEnrolmentTokenRequest { ttl: None })?;
    let string = AgentServiceClient::new(channel.clone()).create_enrolment_token(request).await?.into_inner();
    let store = IdentityStore::new(folder);
    enrol::enrol(&store, &string.enrolment_string.parse()?, "bench").await?;
    let ids = Ids::from_system();
    let keeper = Arc::new(Keeper::open(store, SystemClock::shared(), ids.clone())?);
    let (events, from_runs) = mpsc::channel(16);
    let (release, released) = watch::channel(false);
    let epoch = watch::Sender::new(None);
    let watched = epoch.subscribe();
    let clocks = SystemClocks::shared();
    let journal = Journal::open(&folder.join("journal"))?;
    let live = Live {
        link: Arc::new(RemoteController::new(Arc::clone(&keeper))?),
        runs: Arc::new(WaitingRuns { events, release: released, tasks: tasks.clone() }),
        state: State::new(BootId(ids.uuid(SystemClock.now())), 1),
        events: from_runs,
        epoch,
        refusal: watch::Sender::new(None),
        journal: Arc::new(journal),
        wake: Wake::new(clocks),
        confirmed: watch::Sender::new(Confirmed::default()),
        ids,
        shutdown: tasks.shutdown_token(),
    };
    tasks.spawn("session", live.run());
    Ok(Agent { keeper, epoch: watched, release })
}

/// The percentiles of some times.
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!("{what:34} p50 {:>8.2?}  p99 {:>8.2?}  all {:>8.2?}", at(50), at(99), at(100));
}

async fn jobs_of(channel: &Channel, token: &str, agents: &[Agent], count: usize) -> Result<Vec<String>> {
    let mut jobs = Vec::new();
    for (n, agent) in agents.iter().take(count).enumerate() {
        let request = v1::CreateAccountRequest {
            request_id: format!("account-{n}"),
            name: format!("shop {n}"),
            site: "sandbox".into(),
            site_url: "http://127.0.0.1:9/".into(),
            currency_code: "EUR".into(),
            agent_id: agent.keeper.agent().to_string(),
            ..v1::CreateAccountRequest::default()
        };
        let mut client = AccountServiceClient::new(channel.clone());
        let account = client
            .create_account(with_token(token, request)?)
            .await?
            .into_inner()
            .account
            .context("account")?;
        let request = v1::LoginAccountRequest { id: account.id, request_id: format!("login-{n}") };
        jobs.push(client.login_account(with_token(token, request)?).await?.into_inner().job_id);
    }
    Ok(jobs)
}

async fn all_jobs(channel: &Channel, token: &str, jobs: &[String], state: v1::JobState) -> Result<()> {
    for id in jobs {
        wait::until(&format!("job to be {state:?}"), DEADLINE, || async {
            let request =
                with_token(token, v1::GetJobRequest { id: id.clone() }).map_err(|error| error.to_string())?;
            let answer = JobServiceClient::new(channel.clone()).get_job(request).await;
            let job = answer.map_err(|error| error.to_string())?.into_inner().job.unwrap_or_default();
            if job.state() == state { Ok(()) } else { Err(format!("{job:?}")) }
        })
        .await?;
    }
    Ok(())
}

fn number(name: &str, usual: usize) -> Result<usize> {
    let set = config::process_env().find(|(known, _)| known == name);
    set.map_or(Ok(usual), |(_, value)| value.parse().context(name.to_owned()))
}

#[tokio::main]
async fn main() -> Result<()> {
    tls::install_provider();
    let (count, with_jobs) = (number("AGENTS", 1_000)?, number("JOBS", 50)?);
    let folder = tempfile::tempdir()?;
    let database = match config::process_env().find(|(name, _)| name == "DATABASE") {
        Some((_, kind)) if kind == "postgres" => TestDatabase::empty_postgres_with(Durability::Full).await?,
        _ => TestDatabase::sqlite()?,
    };
    let home = folder.path().join("controller");
    let controller = Controller::start(&home, Arc::new(database), free_port()?, free_port()?).await?;
    let token = controller.token()?;
    let channel = controller.channel().await?;
    let tasks = Tasks::new();
    let mut agents = Vec::new();
    for n in 0..count {
        agents.push(enrolled(&channel, &token, &folder.path().join(n.to_string()), &tasks).await?);
    }
    for agent in &mut agents {
        tokio::time::timeout(DEADLINE, agent.epoch.wait_for(Option::is_some)).await??;
    }
    let jobs = jobs_of(&channel, &token, &agents, with_jobs).await?;
    all_jobs(&channel, &token, &jobs, v1::JobState::Running).await?;
    println!(
        "{count} agents are attached, {} jobs run; the controller is killed and started again",
        jobs.len()
    );

    let old: Vec<_> = agents.iter().map(|agent| *agent.epoch.borrow()).collect();
    let controller = controller.restart().await?;
    let ready = Instant::now();
    let mut back = Vec::new();
    for (agent, old) in agents.iter().zip(old) {
        let mut epoch = agent.epoch.clone();
        back.push(tasks.spawn("back", async move {
            // The old stream's end may not have been noticed yet.
            epoch.wait_for(|now| now.is_some() && *now != old).await.map(|_| ready.elapsed())
        }));
    }
    let mut times = Vec::new();
    for one in back {
        times.push(tokio::time::timeout(DEADLINE, one).await???);
    }
    report("welcomed after readiness", times);
    let (processor, now, peak) = controller.usage()?;
    println!(
        "{:34} processor {processor:.2?}, memory {now} MiB, peak {peak} MiB",
        "the controller until then"
    );

    let began = Instant::now();
    let mut renewals = Vec::new();
    for agent in &agents {
        let keeper = Arc::clone(&agent.keeper);
        renewals.push(tasks.spawn("renew", async move { keeper.renew().await.map(|()| began.elapsed()) }));
    }
    let (mut times, mut failed) = (Vec::new(), 0);
    for one in renewals {
        match tokio::time::timeout(DEADLINE, one).await?? {
            Ok(took) => times.push(took),
            Err(error) => {
                failed += 1;
                println!("a renewal failed: {error}");
            }
        }
    }
    report("renewed and proved, all at once", times);
    let (after, now, peak) = controller.usage()?;
    let more = after.saturating_sub(processor);
    println!("{:34} processor {more:.2?} more, memory {now} MiB, peak {peak} MiB", "the controller for that");

    for agent in &agents {
        agent.release.send_replace(true);
    }
    all_jobs(&controller.channel().await?, &token, &jobs, v1::JobState::Succeeded).await?;
    println!("{} jobs that were under way succeeded, none failed; {failed} renewals failed", jobs.len());
    tasks.begin_shutdown();
    ensure!(failed == 0, "renewals failed");
    Ok(())
}
