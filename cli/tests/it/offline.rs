//! What needs no controller.

use std::net::TcpListener;

use crate::process::Home;

/// Enough of a JPEG for the checks that are made here.
const JPEG: &[u8] = b"\xff\xd8\xff\xe0 a photo";

#[test]
fn help_explains_exit_codes_and_the_file_of_listings() {
    let home = Home::new();
    let codes = home.run(&["help", "exit-codes"]).ok();
    for line in ["   0  done", "   5  the controller cannot be reached", "  12  the posting is uncertain"] {
        assert!(codes.contains(line), "{codes}");
    }
    assert!(home.run(&["listings", "create", "--help"]).ok().contains("price: 25.50 EUR"));
    let nothing = home.run(&[]).fails(2);
    assert!(nothing.contains("Usage: tradepost"), "{nothing}");
    assert!(home.run(&["postings", "retyr"]).fails(2).contains("'retry'"));
}

#[test]
fn completions_are_made_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(home.run(&["completions", shell]).ok().contains("enrol-token"), "{shell}");
    }
}

#[test]
fn all_problems_of_a_file_are_told_at_once_with_their_lines() {
    let home = Home::new();
    home.file("zero.jpg", "");
    home.file("note.png", "hello");
    home.file("good.jpg", JPEG);
    let file = "- title: Lamp\n  price: abc\n  conditon: good\n  category: Home\n  location: Berlin\n  \
                photos: [zero.jpg, missing.jpg, note.png, good.jpg]\n- titel: Desk\n  price: 25,50 EUR\n  \
                condition: shiny\n  category: Home\n  location: Berlin\n";
    home.file("shop/listings.yaml", file);
    home.file("listings.yaml", file);
    let told = home.run(&["listings", "create", "--file", "listings.yaml"]).fails(2);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], "error: 8 problems in listings.yaml; nothing was changed");
    let expected = [
        "listings.yaml:2: price: \"abc\" is not a price; write for example \"25.50 EUR\"",
        "listings.yaml:3: conditon: is no field of a listing; did you mean \"condition\"?",
        "listings.yaml:6: photos: zero.jpg is empty (0 bytes); replace it by the photo",
        "listings.yaml:6: photos: there is no file missing.jpg; correct the path",
        "listings.yaml:6: photos: note.png is no photo: its content is neither JPEG, PNG nor WebP",
        "listings.yaml:7: titel: is no field of a listing; did you mean \"title\"?",
        "listings.yaml:8: price: \"25,50\" is not a price; write a number such as 25 or 25.50, with a point and no \
         currency sign",
        "listings.yaml:9: condition: \"shiny\" is no condition; use new, like_new, good or fair",
    ];
    for (line, expected) in lines[1..].iter().zip(expected) {
        assert_eq!(*line, format!("  - {expected}"));
    }
    assert_eq!(lines.len(), 9, "{told}");
    // Photos are sought beside the file, not here.
    let told = home.run(&["listings", "create", "--file", "shop/listings.yaml"]).fails(2);
    assert!(told.contains("there is no file shop/good.jpg"), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_one_line() {
    let home = Home::new();
    home.file("broken.yaml", "title: [a\nprice: 3\n");
    home.file("empty.yaml", "");
    home.file("twice.yaml", "title: a\ntitle: b\n");
    let told = |name: &str| home.run(&["listings", "create", "--file", name]).fails(2);
    assert!(told("none.yaml").starts_with("error: cannot read none.yaml: there is no such file\n"));
    assert!(told("broken.yaml").starts_with("error: broken.yaml:2: not valid YAML or JSON:"));
    assert!(told("empty.yaml").starts_with("error: empty.yaml holds no listing\n"));
    assert!(told("twice.yaml").contains("twice.yaml:2: not valid YAML or JSON: \"title\" is here twice"));
}

#[test]
fn problems_of_options_name_the_options() {
    let home = Home::new();
    let told = home
        .run(&[
            "listings",
            "create",
            "--title",
            "Lamp",
            "--price",
            "abc",
            "--photos",
            "none",
            "--attribute",
            "x",
        ])
        .fails(2);
    for expected in [
        "error: 6 problems in the options; nothing was changed\n",
        "  - --price: \"abc\" is not a price",
        "  - --category: is missing",
        "  - --condition: is missing; use new, like_new, good or fair",
        "  - --photos: there is no file none",
        "  - --attribute: \"x\" lacks \"=\"",
    ] {
        assert!(told.contains(expected), "{expected:?} in\n{told}");
    }
}

#[test]
fn who_is_not_logged_in_is_told_how() {
    let home = Home::new();
    let told = home.run(&["postings", "list"]).fails(4);
    assert!(told.starts_with("error: no context is chosen\nhint: log in first: tradepost login "), "{told}");
    let told = home.run(&["--context", "shop", "whoami"]).fails(3);
    assert!(told.starts_with("error: there is no context \"shop\"\n"), "{told}");
    let told = home.run(&["login", "--server", "http://127.0.0.1:7443", "--ca-file", "ca.pem"]).fails(2);
    assert!(told.contains("must begin with https://"), "{told}");
    let told = home.run(&["login", "--server", "https://127.0.0.1:7443", "--ca-file", "ca.pem"]).fails(2);
    assert!(
        told.starts_with("error: cannot read the authority's certificate ca.pem: there is no such file"),
        "{told}"
    );
    home.file("ca.pem", "not a certificate");
    let login = ["login", "--server", "https://127.0.0.1:7443", "--ca-file", "ca.pem"];
    let told = home.run(&login).fails(2);
    assert!(told.starts_with("error: no API token is given, and there is no terminal to ask on"), "{told}");
    let told = home.run_with(&[&login[..], &["--token-stdin"]].concat(), "token").fails(2);
    assert!(told.contains("ca.pem: holds no certificate"), "{told}");
}

#[test]
fn an_unreachable_controller_is_one_line_with_the_mend() {
    let home = Home::new();
    let (_, ca) = crate::server::authority();
    home.file("ca.pem", ca);
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("bound").port()
    };
    let server = format!("https://127.0.0.1:{port}");
    let told = home
        .run_with(&["login", "--server", &server, "--ca-file", "ca.pem", "--token-stdin"], "secret")
        .fails(5);
    assert_eq!(
        told,
        format!(
            "error: cannot reach the controller at {server}: connection refused\n\
             hint: is it running? start it, or check the address (--server, or `tradepost context show`)\n"
        )
    );
    assert!(!home.path().join(".config/tradepost/config.toml").exists(), "a failed login leaves nothing");
}

#[test]
fn a_broken_file_of_contexts_is_named() {
    let home = Home::new();
    home.file(".config/tradepost/config.toml", "current = 3\n");
    let told = home.run(&["whoami"]).fails(2);
    assert!(told.contains("config.toml: invalid type"), "{told}");
}
