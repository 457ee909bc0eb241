//! The table: who may use whom, and where foreign types stop.

/// Our crates by folder, and which of ours each may depend on. Tests may use more (`dev-dependencies` are not looked at).
pub(crate) const CRATES: &[(&str, &[&str])] = &[
    ("crates/domain", &[]),
    ("crates/model", &["domain"]),
    ("crates/recipe", &["domain"]),
    ("proto", &["domain"]),
    ("crates/store", &["domain"]),
    ("crates/store-postgres", &["store", "domain", "runtime"]),
    ("crates/store-sqlite", &["store", "domain", "runtime"]),
    ("crates/runtime", &["domain"]),
    ("crates/testkit", &["domain", "runtime"]),
    ("controller", &["proto", "domain", "recipe", "store", "runtime", "store-postgres", "store-sqlite"]),
    ("agent", &["proto", "domain", "recipe", "runtime"]),
    ("cli", &["proto", "domain", "runtime"]),
    ("sandbox", &["domain", "runtime"]),
    // Plays both sides of the wire, on the store's model.
    ("simulation", &["proto", "domain", "store", "runtime", "controller", "agent"]),
    ("bench", &["domain", "proto", "runtime", "testkit"]),
];

/// Names that only some places may use.
pub(crate) struct Confined {
    /// Crates, or paths such as `std::env`.
    pub(crate) names: &'static [&'static str],
    /// Beginnings of the paths that the rule is about; empty for everything.
    pub(crate) within: &'static [&'static str],
    /// Beginnings of the paths that may use them.
    pub(crate) homes: &'static [&'static str],
    /// Names of files or folders, anywhere, that may use them.
    pub(crate) parts: &'static [&'static str],
    /// The rule, as a half sentence.
    pub(crate) rule: &'static str,
}

/// A module that only some files may import.
pub(crate) struct Layer {
    /// Beginnings of the paths that the rule is about.
    pub(crate) within: &'static [&'static str],
    /// Beginnings of the paths among them that may import it.
    pub(crate) homes: &'static [&'static str],
    /// A path that begins with `crate::` or with a crate.
    pub(crate) module: &'static str,
    /// The rule, as a half sentence.
    pub(crate) rule: &'static str,
}

pub(crate) const CONFINED: &[Confined] = &[
    Confined {
        names: &[
            "tonic",
            "tonic_prost",
            "tonic_types",
            "tonic_web",
            "tonic_health",
            "tonic_reflection",
            "prost",
            "prost_types",
        ],
        within: &[],
        homes: &[
            "proto/",
            "controller/src/grpc/",
            "controller/src/grpc.rs",
            "controller/src/session/",
            "controller/src/session.rs",
            "controller/src/app.rs",
            "agent/src/session/",
            "agent/src/session.rs",
            "agent/src/evidence",
            "cli/src/client/",
            "cli/src/client.rs",
            "crates/testkit/src/collector.rs",
            "bench/src/",
        ],
        parts: &[],
        rule: "gRPC types stop at the controller's grpc, session and app (which starts the server), the agent's session and evidence, the CLI's client; the benchmarks are a client",
    },
    Confined {
        names: &["sqlx"],
        within: &[],
        homes: &[
            "crates/store-postgres/",
            "crates/store-sqlite/",
            "crates/store/shared/",
            "crates/testkit/src/database.rs",
            "bench/src/",
        ],
        parts: &[],
        rule: "SQL stops at the store-* crates and their shared body; the benchmarks look and fill from outside",
    },
    Confined {
        names: &["tradepost_store_postgres", "tradepost_store_sqlite"],
        within: &[],
        homes: &["controller/src/app.rs", "crates/store-postgres/", "crates/store-sqlite/"],
        parts: &[],
        rule: "only the composition root, controller/src/app.rs, knows the engines",
    },
    Confined {
        names: &["thirtyfour"],
        within: &[],
        homes: &["agent/src/browser/", "agent/src/browser.rs"],
        parts: &[],
        rule: "WebDriver stops at agent/src/browser; everything else speaks recipe::Page",
    },
    Confined {
        names: &["env::var", "env::vars", "env::var_os", "env::vars_os", "env::set_var", "env::remove_var"],
        within: &[],
        homes: &[],
        parts: &["config", "args", "build"],
        rule: "the environment is read in config and args modules",
    },
    Confined {
        names: &["env::args", "env::args_os"],
        within: &[],
        homes: &[],
        parts: &["args", "main"],
        rule: "arguments are read in args and main",
    },
    Confined {
        names: &["clap", "clap_complete"],
        within: &[],
        homes: &["cli/src/lib.rs"],
        parts: &["config", "args", "main"],
        rule: "clap stops at config, args and main",
    },
    Confined {
        names: &["unsafe"],
        within: &[],
        homes: &["agent/src/platform/"],
        parts: &[],
        rule: "unsafe code is for agent/src/platform alone",
    },
    Confined {
        names: &[
            "tokio",
            "tracing",
            "std::fs",
            "std::net",
            "std::process",
            "SystemTime",
            "Instant",
            "rand",
            "reqwest",
        ],
        within: &["crates/domain/"],
        homes: &[],
        parts: &[],
        rule: "the domain is pure: no I/O, no clock, no randomness, no logging",
    },
];

pub(crate) const LAYERS: &[Layer] = &[
    Layer {
        within: &["controller/src/"],
        homes: &["controller/src/grpc", "controller/src/app.rs", "controller/src/lib.rs"],
        module: "crate::grpc",
        rule: "nothing but the composition root imports the controller's grpc layer",
    },
    Layer {
        within: &["controller/src/grpc"],
        homes: &[],
        module: "crate::background",
        rule: "handlers call services; background tasks run by themselves",
    },
    Layer {
        within: &["controller/src/service", "controller/src/session", "controller/src/identity"],
        homes: &[],
        module: "crate::background",
        rule: "services are called by background tasks, not the other way round",
    },
    Layer {
        within: &["controller/src/service"],
        homes: &[],
        module: "tradepost_proto",
        rule: "services speak the domain's types; grpc converts",
    },
    Layer {
        within: &["controller/src/background", "controller/src/identity"],
        homes: &[],
        module: "tradepost_proto",
        rule: "wire types stop at grpc and session",
    },
    Layer {
        within: &["agent/src/browser", "agent/src/platform", "agent/src/journal"],
        homes: &[],
        module: "crate::session",
        rule: "the agent's foundations do not know its connection",
    },
    Layer {
        within: &["agent/src/browser", "agent/src/platform", "agent/src/journal"],
        homes: &[],
        module: "crate::runner",
        rule: "the runner uses these, not the other way round",
    },
    Layer {
        within: &["cli/src/client", "cli/src/output"],
        homes: &[],
        module: "crate::cmd",
        rule: "commands use the client and the output, not the other way round",
    },
];

// === impl Confined ===

impl Confined {
    /// Whether the rule binds the file at `path`.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let starts = |list: &[&str]| list.iter().any(|beginning| path.starts_with(beginning));
        let at_home = path.split('/').any(|part| self.parts.contains(&part.trim_end_matches(".rs")));
        (self.within.is_empty() || starts(self.within)) && !starts(self.homes) && !at_home
    }
}

// === impl Layer ===

impl Layer {
    /// Whether the rule binds the file at `path`.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let starts = |list: &[&str]| list.iter().any(|beginning| path.starts_with(beginning));
        starts(self.within) && !starts(self.homes)
    }
}
