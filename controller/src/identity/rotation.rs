//! Changing the authority, by a person on the controller's host. Running controllers follow by looking at the folder.

use std::path::Path;

use rcgen::{Issuer, KeyPair};
use tradepost_domain::time::Timestamp;
use tradepost_domain::trust::Phase;

use super::files::{self, Files, GenerationFiles};
use super::{Error, authority, first};

/// What a rotation replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The root and the agents CA.
    Root,
    /// The agents CA alone, under the same root.
    AgentsCa,
}

/// A step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To the next phase.
    Advance,
    /// To the phase before.
    Rollback,
}

/// Where the rotation of the authority in `folder` stands.
pub fn phase(folder: &Path) -> Result<Phase, Error> {
    Ok(loaded(folder)?.phase)
}

/// Makes the next generation and makes it known.
pub fn begin(folder: &Path, scope: Scope, now: Timestamp) -> Result<Phase, Error> {
    let _lock = files::lock(folder)?;
    let Files { phase, generations, bridges, .. } = loaded(folder)?;
    let number = files::newest_number(folder) + 1;
    let next = phase.begin(number)?;
    let present = phase.signer();
    let old = generation(&generations, present)?;
    let made = match scope {
        Scope::Root => authority::generation(number, now)?,
        Scope::AgentsCa => {
            let issuer = signer(&old.root)?;
            GenerationFiles { root: old.root.clone(), agents: authority::agents_ca(number, &issuer, now)? }
        }
    };
    let mut all = Vec::new();
    if scope == Scope::Root {
        for (root, by) in [(&made.root, &old.root), (&old.root, &made.root)] {
            let certificate = first(&root.certificate, files::ROOT)?;
            let key = KeyPair::from_pem(&root.key)?;
            all.push(authority::bridge(&certificate, &key, &signer(by)?, now)?);
        }
    }
    all.extend(bridges);
    // The first rotation moves the files of the only generation under its number.
    files::write_generation(folder, present, old)?;
    files::add(folder, number, &made, &all)?;
    let with_new = [generations.as_slice(), &[(number, made)]].concat();
    finish(folder, next, &with_new)
}

/// Takes one step.
pub fn step(folder: &Path, step: Step) -> Result<Phase, Error> {
    let _lock = files::lock(folder)?;
    let Files { phase, generations, .. } = loaded(folder)?;
    let next = match step {
        Step::Advance => phase.advance()?,
        Step::Rollback => phase.rollback()?,
    };
    finish(folder, next, &generations)
}

fn finish(folder: &Path, phase: Phase, generations: &[(u32, GenerationFiles)]) -> Result<Phase, Error> {
    let mut roots = Vec::new();
    for number in phase.trusted() {
        let certificate = &generation(generations, number)?.root.certificate;
        // With a rotation of the agents CA alone, both generations have one root.
        if !roots.contains(certificate) {
            roots.push(certificate.clone());
        }
    }
    files::change(folder, phase, &roots.concat())?;
    Ok(phase)
}

fn loaded(folder: &Path) -> Result<Files, Error> {
    files::load(folder)?.ok_or_else(|| Error::NoAuthority { folder: folder.to_owned() })
}

fn generation(all: &[(u32, GenerationFiles)], number: u32) -> Result<&GenerationFiles, Error> {
    let found = all.iter().find(|(known, _)| *known == number).map(|(_, files)| files);
    found.ok_or_else(|| Error::State { problem: format!("generation {number} is missing") })
}

fn signer(pair: &files::Pair) -> Result<Issuer<'static, KeyPair>, Error> {
    let certificate = first(&pair.certificate, files::ROOT)?;
    Ok(Issuer::from_ca_cert_der(&certificate, KeyPair::from_pem(&pair.key)?)?)
}
