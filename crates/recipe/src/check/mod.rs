//! The rules that a recipe or pack has to keep beyond its shape. All broken rules are reported at once.

mod find;

use std::fmt;

pub use self::find::ROLES;
use crate::locate::Locator;
use crate::pack::Pack;
use crate::schema::{Body, Confirm, Job, List, Published, STEP_DEADLINE_MAX, Step};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, e.g. `steps[2].fill.target[0].css`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Collects problems with the path to each.
struct Checker {
    problems: Vec<Problem>,
    job: Option<Job>,
    /// The value of a secret field is being looked at.
    in_secret: bool,
}

/// The broken rules of a recipe.
pub fn recipe(body: &Body) -> Vec<Problem> {
    let mut checker = Checker { problems: Vec::new(), job: Some(body.job), in_secret: false };
    checker.sections(body);
    checker.steps("steps", &body.steps);
    if let Some(signed_in) = &body.signed_in {
        checker.condition("signed_in.when", &signed_in.when);
        checker.maybe_target("signed_in.account", signed_in.account.as_ref());
    }
    if let Some(fence) = &body.fence {
        checker.target("fence.target", &fence.target);
        checker.maybe_target("fence.errors", fence.errors.as_ref());
        for (n, condition) in fence.blocked.iter().enumerate() {
            checker.condition(&format!("fence.blocked[{n}]"), condition);
        }
    }
    if let Some(confirm) = &body.confirm {
        checker.confirm(confirm);
    }
    for (n, published) in body.published.iter().enumerate() {
        checker.published(&format!("published[{n}]"), published);
    }
    for (n, list) in body.lists.iter().enumerate() {
        checker.list(&format!("lists[{n}]"), list);
    }
    checker.problems
}

/// The broken rules of a site pack.
pub fn pack(pack: &Pack) -> Vec<Problem> {
    let mut checker = Checker { problems: Vec::new(), job: None, in_secret: false };
    for (name, path) in &pack.paths {
        if !path.starts_with('/') || path.starts_with("//") {
            checker.say(&format!("paths.{name}"), "is no path; write one that begins with a single /");
        }
    }
    for name in pack.conditions.keys() {
        if !Pack::condition_names().contains(&name.as_str()) {
            checker.say(&format!("conditions.{name}"), "is no condition; use new, like_new, good or fair");
        }
    }
    for path in pack.categories.aliases.keys() {
        if !pack.categories.known.contains(path) {
            checker.say("categories.aliases", &format!("{path:?} is not in categories.known"));
        }
    }
    for (n, interruption) in pack.interruptions.iter().enumerate() {
        checker.condition(&format!("interruptions[{n}].when"), &interruption.when);
        if interruption.when.is_empty() {
            checker.say(&format!("interruptions[{n}].when"), "is empty; it would interrupt every page");
        }
    }
    checker.problems
}

impl Checker {
    fn say(&mut self, path: &str, message: &str) {
        self.problems.push(Problem { path: path.to_owned(), message: message.to_owned() });
    }

    fn sections(&mut self, body: &Body) {
        let job = body.job;
        let wanted = [
            ("signed_in", body.signed_in.is_some(), matches!(job, Job::LoginCheck | Job::Login)),
            ("fence", body.fence.is_some(), job == Job::Publish),
            ("confirm", body.confirm.is_some(), job == Job::Publish),
            ("published", !body.published.is_empty(), job == Job::Publish),
            ("lists", !body.lists.is_empty(), job == Job::Scan),
        ];
        for (name, given, needed) in wanted {
            if needed && !given {
                self.say(name, &format!("is missing; a {job} recipe needs it"));
            }
            if given && !needed {
                self.say(name, &format!("has no meaning in a {job} recipe; remove it"));
            }
        }
        if body.steps.is_empty() && job != Job::Scan {
            self.say("steps", "are empty; write at least one");
        }
    }

    fn steps(&mut self, path: &str, steps: &[Step]) {
        for (n, step) in steps.iter().enumerate() {
            self.step(&format!("{path}[{n}]"), step);
        }
    }

    fn step(&mut self, path: &str, step: &Step) {
        if step.name.trim().is_empty() {
            self.say(&format!("{path}.name"), "is empty; say what the step does");
        }
        let most = STEP_DEADLINE_MAX.as_secs();
        if step.deadline_s.is_some_and(|seconds| seconds == 0 || seconds > most) {
            self.say(&format!("{path}.deadline_s"), &format!("must be 1 to {most}"));
        }
        let actions = [
            ("goto", step.goto.is_some()),
            ("branch", step.branch.is_some()),
            ("dismiss", step.dismiss.is_some()),
            ("fill", step.fill.is_some()),
            ("select", step.select.is_some()),
            ("pick", step.pick.is_some()),
            ("typeahead", step.typeahead.is_some()),
            ("set", step.set.is_some()),
            ("untick", step.untick.is_some()),
            ("upload", step.upload.is_some()),
            ("click", step.click.is_some()),
            ("advance", step.advance.is_some()),
        ];
        let given: Vec<&str> = actions.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        match given.len() {
            1 => {}
            0 if step.expect.is_some() => {}
            0 => self.say(path, "has no action; give one of goto, fill, select, pick, upload, … or expect"),
            _ => {
                self.say(
                    path,
                    &format!("has several actions ({}); make each its own step", given.join(", ")),
                );
            }
        }
        if (step.goto.is_some() || step.advance.is_some()) && step.expect.is_none() {
            self.say(
                &format!("{path}.expect"),
                "is missing; a step that leaves the page says what comes next",
            );
        }
        if let Some(condition) = &step.only_if {
            self.template(&format!("{path}.only_if"), condition);
        }
        if let Some(condition) = &step.expect {
            self.condition(&format!("{path}.expect"), condition);
        }
        self.action(path, step);
    }

    fn action(&mut self, path: &str, step: &Step) {
        if let Some(to) = &step.goto {
            self.path_template(&format!("{path}.goto"), to);
        }
        for (n, arm) in step.branch.iter().flatten().enumerate() {
            self.condition(&format!("{path}.branch[{n}].when"), &arm.when);
            self.steps(&format!("{path}.branch[{n}].steps"), &arm.steps);
        }
        for (n, overlay) in step.dismiss.iter().flatten().enumerate() {
            self.target(&format!("{path}.dismiss[{n}].when"), &overlay.when);
            self.target(&format!("{path}.dismiss[{n}].click"), &overlay.click);
        }
        if let Some(fill) = &step.fill {
            self.target(&format!("{path}.fill.target"), &fill.target);
            self.in_secret = fill.secret;
            self.template(&format!("{path}.fill.value"), &fill.value);
            self.in_secret = false;
        }
        if let Some(select) = &step.select {
            self.target(&format!("{path}.select.target"), &select.target);
            self.text(&format!("{path}.select.option"), &select.option);
        }
        if let Some(pick) = &step.pick {
            self.target(&format!("{path}.pick.target"), &pick.target);
            self.target(&format!("{path}.pick.list"), &pick.list);
            self.target(&format!("{path}.pick.option"), &pick.option);
            self.text(&format!("{path}.pick.shows"), &pick.shows);
        }
        if let Some(typeahead) = &step.typeahead {
            self.target(&format!("{path}.typeahead.target"), &typeahead.target);
            self.template(&format!("{path}.typeahead.value"), &typeahead.value);
            self.target(&format!("{path}.typeahead.option"), &typeahead.option);
            self.text(&format!("{path}.typeahead.shows"), &typeahead.shows);
            if let Some(committed) = &typeahead.committed {
                self.condition(&format!("{path}.typeahead.committed"), committed);
            }
            let chooses = |locator: &Locator| locator.name.is_some() || locator.text.is_some();
            if !typeahead.option.any.iter().all(chooses) {
                let message = "takes whatever suggestion comes first; name the one to choose";
                self.say(&format!("{path}.typeahead.option"), message);
            }
        }
        if let Some(set) = &step.set {
            self.target(&format!("{path}.set.target"), &set.target);
        }
        if let Some(untick) = &step.untick {
            self.target(&format!("{path}.untick.target"), &untick.target);
            if !untick.target.any.iter().all(|locator| locator.role.is_some() && locator.name.is_none()) {
                let message = "needs locators by role without a name; the names are read from the page";
                self.say(&format!("{path}.untick.target"), message);
            }
        }
        if let Some(upload) = &step.upload {
            self.target(&format!("{path}.upload.target"), &upload.target);
            self.maybe_target(&format!("{path}.upload.thumbnails"), upload.thumbnails.as_ref());
            self.maybe_target(&format!("{path}.upload.refused"), upload.refused.as_ref());
        }
        self.maybe_target(&format!("{path}.click"), step.click.as_ref());
        if let Some(advance) = &step.advance {
            self.target(&format!("{path}.advance.target"), &advance.target);
            self.maybe_target(&format!("{path}.advance.errors"), advance.errors.as_ref());
        }
    }

    fn confirm(&mut self, confirm: &Confirm) {
        let most = STEP_DEADLINE_MAX.as_secs();
        if confirm.within_s.is_some_and(|seconds| seconds == 0 || seconds > most) {
            self.say("confirm.within_s", &format!("must be 1 to {most}"));
        }
        for (n, proof) in confirm.proofs.iter().enumerate() {
            let path = format!("confirm.proofs[{n}]");
            self.condition(&format!("{path}.when"), &proof.when);
            if let Some(link) = &proof.link {
                self.regex(&format!("{path}.link"), link);
            }
            let id = |text: &Option<String>| text.as_deref().is_some_and(|text| text.contains("(?<id>"));
            if !id(&proof.when.url) && !id(&proof.link) {
                self.say(&path, "gives no id; put a group (?<id>…) into when.url or link");
            }
        }
        for (n, condition) in confirm.rejected.iter().enumerate() {
            self.condition(&format!("confirm.rejected[{n}]"), condition);
        }
        for (n, condition) in confirm.look.iter().enumerate() {
            self.condition(&format!("confirm.look[{n}]"), condition);
        }
    }

    fn published(&mut self, path: &str, published: &Published) {
        if published.structured.is_some() == published.target.is_some() {
            self.say(path, "needs either structured or target");
        }
        if (published.field == "photos") == published.value.is_some() {
            self.say(&format!("{path}.value"), "is needed for every field but photos");
        }
        self.maybe_target(&format!("{path}.target"), published.target.as_ref());
        if let Some(pattern) = &published.pattern {
            self.regex(&format!("{path}.pattern"), pattern);
        }
        if let Some(shows) = &published.shows {
            self.text(&format!("{path}.shows"), shows);
        }
        for template in published.value.iter().chain(&published.only_if) {
            self.template(&format!("{path}.value"), template);
        }
    }

    fn list(&mut self, path: &str, list: &List) {
        self.path_template(&format!("{path}.goto"), &list.goto);
        self.condition(&format!("{path}.expect"), &list.expect);
        self.target(&format!("{path}.rows"), &list.rows);
        self.maybe_target(&format!("{path}.next"), list.next.as_ref());
        if let Some(empty) = &list.empty {
            self.condition(&format!("{path}.empty"), empty);
        }
        if list.batch == Some(0) {
            self.say(&format!("{path}.batch"), "is 0; leave it out when the list comes at once");
        }
        if !list.columns.iter().any(|column| column.name == "id") {
            self.say(&format!("{path}.columns"), "have no id; without it own items cannot be told apart");
        }
        for (n, column) in list.columns.iter().enumerate() {
            let path = format!("{path}.columns[{n}]");
            if !["id", "title", "price", "url", "state"].contains(&column.name.as_str()) {
                self.say(&format!("{path}.name"), "is not one of id, title, price, url, state");
            }
            self.maybe_target(&format!("{path}.target"), column.target.as_ref());
            if let Some(pattern) = &column.pattern {
                self.regex(&format!("{path}.pattern"), pattern);
            }
        }
        if let Some(reveal) = &list.reveal {
            if list.next.is_some() {
                self.say(&format!("{path}.reveal"), "does not go with next: rows of earlier pages are gone");
            }
            self.target(&format!("{path}.reveal.click"), &reveal.click);
            self.target(&format!("{path}.reveal.link"), &reveal.link);
            self.target(&format!("{path}.reveal.close"), &reveal.close);
            self.regex(&format!("{path}.reveal.pattern"), &reveal.pattern);
            if !reveal.pattern.contains("(?<id>") {
                self.say(&format!("{path}.reveal.pattern"), "has no group (?<id>…)");
            }
        }
        if let Some(count) = &list.count {
            self.target(&format!("{path}.count.target"), &count.target);
            self.regex(&format!("{path}.count.pattern"), &count.pattern);
            if !count.pattern.contains("(?<count>") {
                self.say(&format!("{path}.count.pattern"), "has no group (?<count>…)");
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.message)
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::{Invalid, Recipe};

    fn problems(text: &str) -> Vec<String> {
        match Recipe::parse(text) {
            Ok(_) => Vec::new(),
            Err(Invalid::Rules { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
            Err(Invalid::Shape { message, .. }) => vec![message],
        }
    }

    fn check_of(step: &str) -> Vec<String> {
        problems(&format!(
            "site: demo\njob: login_check\nsummary: Looks.\nsteps:\n  - name: Do it\n{step}\n\
             signed_in:\n  when: {{heading: Hello}}\n"
        ))
    }

    #[test]
    fn brittle_selectors_are_refused_with_the_reason() {
        for (css, reason) in [
            ("div.x1lliihq > span", "class name"),
            ("[class*=btn]", "class name"),
            ("#_r_1a_", "looks generated"),
            ("/html/body/div[2]", "XPath"),
        ] {
            let said = check_of(&format!("    click: {{css: \"{css}\"}}"));
            assert!(said.iter().any(|line| line.contains(reason)), "{css}: {said:?}");
            assert!(said.iter().all(|line| line.starts_with("steps[0].click[0].css ")), "{said:?}");
        }
        for css in
            ["input[type=file][accept=\"image/*\"]", "#email", "a[href^=\"/item/\"]", "td:nth-of-type(2) a"]
        {
            assert_eq!(check_of(&format!("    click: {{css: '{css}'}}")), Vec::<String>::new(), "{css}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_their_path() {
        let said = check_of("    fill: {field: title, target: {label: Title}, vlaue: x}");
        assert!(said[0].contains("steps[0].fill") && said[0].contains("vlaue"), "{said:?}");
        let said = check_of("    click: {rolle: button}");
        assert!(said[0].contains("steps[0].click") && said[0].contains("rolle"), "{said:?}");
    }

    #[test]
    fn every_broken_rule_is_reported_at_once() {
        let said = check_of(
            "    goto: https://elsewhere.example/\n    click: {role: knob, name: '{{listing.colour}}'}\n    \
             deadline_s: 600",
        );
        for part in
            ["several actions", "leads off the site", "no role", "is no variable", "1 to 120", "expect"]
        {
            assert!(said.iter().any(|line| line.contains(part)), "{part}: {said:?}");
        }
        let said = check_of(
            "    typeahead: {field: location, target: {label: Place}, value: x, option: {role: option}, shows: x}",
        );
        assert!(said.iter().any(|line| line.contains("comes first")), "{said:?}");
        let said = check_of("    untick: {field: groups, target: {role: checkbox, name: Tools}}");
        assert!(said.iter().any(|line| line.contains("without a name")), "{said:?}");
        let login = |step: &str| {
            problems(&format!(
                "site: demo\njob: login\nsummary: Signs in.\nsteps:\n  - name: Do it\n{step}\n\
                 signed_in:\n  when: {{heading: Hello}}\n"
            ))
        };
        let fill = "    fill: {field: password, target: {label: Password}, value: '{{credential.password}}'";
        assert_eq!(login(&format!("{fill}, secret: true}}")), Vec::<String>::new());
        for leak in [
            format!("{fill}}}"),
            "    goto: '/?p={{credential.password}}'\n    expect: {heading: x}".into(),
            "    click: {role: button, name: '{{credential.username}}'}".into(),
        ] {
            assert!(login(&leak).iter().any(|line| line.contains("secret: true")), "{leak}");
        }
        let said = check_of("    click: {role: button, nth: 2}");
        assert!(said[0].contains("unknown field `nth`"), "{said:?}");
    }
}
