//! Windows.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use windows_sys::Win32::Foundation::{CloseHandle, FILETIME, HANDLE, INVALID_HANDLE_VALUE, WAIT_TIMEOUT};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE,
    PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject,
};

use super::processes::{Listed, ProcessRef, descendants};

/// A handle that is closed when dropped.
struct Handle(HANDLE);

#[expect(unsafe_code, reason = "the Windows API; each call's contract is stated beside it")]
mod api {
    use super::{
        AssignProcessToJobObject, CloseHandle, CreateJobObjectW, CreateToolhelp32Snapshot, Duration,
        FILETIME, GetCurrentProcess, GetProcessTimes, GetTickCount64, Handle, INVALID_HANDLE_VALUE,
        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
        JobObjectExtendedLimitInformation, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION,
        PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, PROCESSENTRY32W, Process32FirstW, Process32NextW,
        SetInformationJobObject, TH32CS_SNAPPROCESS, TerminateProcess, WAIT_TIMEOUT, WaitForSingleObject, io,
    };

    impl Drop for Handle {
        fn drop(&mut self) {
            // The handle was opened by this module and is closed once.
            unsafe { CloseHandle(self.0) };
        }
    }

    pub(super) fn uptime() -> Duration {
        // Takes nothing and cannot fail. Its count goes on during sleep.
        Duration::from_millis(unsafe { GetTickCount64() })
    }

    /// Creation time of a running process.
    pub(super) fn started(pid: u32) -> Option<u64> {
        let access = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
        // A null handle is checked for.
        let handle = unsafe { OpenProcess(access, 0, pid) };
        if handle.is_null() {
            return None;
        }
        let handle = Handle(handle);
        // The handle has the right to wait.
        if unsafe { WaitForSingleObject(handle.0, 0) } != WAIT_TIMEOUT {
            return None;
        }
        let mut times = [FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 }; 4];
        let [created, exited, kernel, user] = &mut times;
        // Four valid places are given.
        let fine = unsafe { GetProcessTimes(handle.0, created, exited, kernel, user) };
        (fine != 0).then(|| u64::from(times[0].dwHighDateTime) << 32 | u64::from(times[0].dwLowDateTime))
    }

    /// Ids and parents of all processes.
    pub(super) fn processes() -> Vec<(u32, u32)> {
        // An invalid handle is checked for.
        let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
        if snapshot == INVALID_HANDLE_VALUE {
            return Vec::new();
        }
        let snapshot = Handle(snapshot);
        // All fields are numbers or arrays of them: zero is valid.
        let mut entry: PROCESSENTRY32W = unsafe { std::mem::zeroed() };
        entry.dwSize = u32::try_from(size_of::<PROCESSENTRY32W>()).unwrap_or(0);
        let mut found = Vec::new();
        // The entry says its size, as the call demands.
        let mut more = unsafe { Process32FirstW(snapshot.0, &raw mut entry) };
        while more != 0 {
            found.push((entry.th32ProcessID, entry.th32ParentProcessID));
            // As above.
            more = unsafe { Process32NextW(snapshot.0, &raw mut entry) };
        }
        found
    }

    pub(super) fn kill(pid: u32) {
        // A null handle is checked for.
        let handle = unsafe { OpenProcess(PROCESS_TERMINATE, 0, pid) };
        if !handle.is_null() {
            let handle = Handle(handle);
            // The handle has the right to end the process.
            unsafe { TerminateProcess(handle.0, 1) };
        }
    }

    /// Puts this process into a job that ends everything in it when this process ends.
    pub(super) fn enter_job() -> io::Result<()> {
        // No name and default security.
        let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
        if job.is_null() {
            return Err(io::Error::last_os_error());
        }
        // All fields are numbers: zero is valid.
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = unsafe { std::mem::zeroed() };
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        let size = u32::try_from(size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>()).unwrap_or(0);
        // The structure is the one that this class of information asks for.
        let set = unsafe {
            SetInformationJobObject(job, JobObjectExtendedLimitInformation, (&raw const limits).cast(), size)
        };
        // The job's handle stays open on purpose: the system closes it when this process ends.
        if set == 0 || unsafe { AssignProcessToJobObject(job, GetCurrentProcess()) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

pub(super) fn boottime() -> Duration {
    api::uptime()
}

pub(super) fn started(pid: u32) -> Option<u64> {
    api::started(pid)
}

/// A parent id may have been reused, so a "child" that is older than its parent is none.
pub(super) fn list() -> Vec<Listed> {
    api::processes()
        .into_iter()
        .filter_map(|(pid, parent)| {
            let started = api::started(pid)?;
            let real = api::started(parent).is_none_or(|begun| begun <= started);
            Some(Listed { process: ProcessRef { pid, started }, parent: if real { parent } else { 0 } })
        })
        .collect()
}

pub(super) fn kill(pid: u32) {
    api::kill(pid);
}

pub(super) fn enter_containment() -> io::Result<()> {
    api::enter_job()
}

/// The job does it.
pub(super) fn die_with_parent(_: &mut Command) {}

pub(super) fn wait_for(mut child: Child) -> io::Result<u8> {
    Ok(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The end of this process, which follows, ends what is left in the job.
pub(super) fn end_descendants() {
    for process in descendants(std::process::id()) {
        kill(process.pid);
    }
}

/// Folders below the user's profile inherit rights for the user, the system and administrators only.
pub(super) fn restrict_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// As for folders.
pub(super) fn private(_: &mut OpenOptions) {}

/// Folders cannot be synced here; the file system's journal keeps renames in order.
pub(super) fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}
