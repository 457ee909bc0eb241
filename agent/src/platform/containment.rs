//! Child processes that end with this one, whatever kills it.
//!
//! A driver is not started directly but by a guard: this same program with the hidden argument [`GUARD`], whose standard
//! input is a pipe that only the agent holds. However the agent ends, the pipe closes; the guard then ends the driver and
//! everything the driver has started, and waits until all of it is gone. The other way round, a driver that ends by itself
//! has its remains (Chrome) ended and its exit code passed on.
//!
//! - Linux: the guard is a child subreaper, so no descendant can leave its tree; the driver also gets a parent-death
//!   signal, for the case that the guard itself is killed.
//! - macOS: the tree is ended by the chain of parents.
//! - Windows: guard, driver and Chrome are in a Job Object that kills what is in it when the guard ends.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use super::os;

/// The hidden first argument that makes this program a guard.
pub const GUARD: &str = "__guard";

/// A command that runs `program` under a guard; add its arguments, output and environment as to any command.
///
/// `this_program` is the agent's own executable. The standard input is the pipe to the guard: keep the child's `stdin`
/// as long as the program is to run, and drop it to end everything. Killing the child ends everything too.
pub fn command(this_program: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(this_program);
    command.arg(GUARD).arg(program).stdin(Stdio::piped());
    command
}

/// The guard's whole life. `arguments` are the program to run and its arguments.
pub fn run_guard<A: AsRef<OsStr>>(arguments: &[A]) -> ExitCode {
    let Some((program, arguments)) = arguments.split_first() else { return ExitCode::FAILURE };
    match guard(program.as_ref(), arguments) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(%error, "cannot guard a program");
            ExitCode::FAILURE
        }
    }
}

fn guard<A: AsRef<OsStr>>(program: &OsStr, arguments: &[A]) -> io::Result<ExitCode> {
    os::enter_containment()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    os::die_with_parent(&mut command);
    let child = command.spawn()?;
    // The agent's end of the pipe never sends anything: reading returns when the agent is gone.
    std::thread::Builder::new().name("agent-alive".into()).spawn(|| {
        let mut rest = [0_u8; 64];
        loop {
            match io::stdin().read(&mut rest) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        os::end_descendants();
        std::process::exit(0);
    })?;
    let code = os::wait_for(child)?;
    os::end_descendants();
    Ok(ExitCode::from(code))
}
