//! The recipes built into this program.
//!
//! To add a site: its folder in `recipes/`, its lines in [`FILES`].

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::pack::Pack;
use crate::schema::{Invalid, Job, Recipe};
use crate::session::capture;

/// The files of one site.
struct Files {
    site: &'static str,
    pack: &'static str,
    recipes: &'static [&'static str],
}

const FILES: &[Files] = &[
    Files {
        site: "classified",
        pack: include_str!("../../../recipes/classified/pack.yaml"),
        recipes: &[
            include_str!("../../../recipes/classified/login_check.yaml"),
            include_str!("../../../recipes/classified/login.yaml"),
            include_str!("../../../recipes/classified/publish.yaml"),
            include_str!("../../../recipes/classified/scan.yaml"),
        ],
    },
    Files {
        site: "sandbox",
        pack: include_str!("../../../recipes/sandbox/pack.yaml"),
        recipes: &[
            include_str!("../../../recipes/sandbox/login_check.yaml"),
            include_str!("../../../recipes/sandbox/login.yaml"),
            include_str!("../../../recipes/sandbox/publish.yaml"),
            include_str!("../../../recipes/sandbox/scan.yaml"),
        ],
    },
];

static SITES: LazyLock<Result<Vec<Arc<Site>>, Invalid>> = LazyLock::new(|| {
    FILES.iter().map(|files| Site::parse(files.pack, files.recipes).map(Arc::new)).collect()
});

/// A site's pack with its recipes.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// The pack.
    pub pack: Pack,
    recipes: BTreeMap<Job, Arc<Recipe>>,
    texts: Vec<(String, String)>,
}

/// The site of that name, or a line that says which there are.
pub fn site(name: &str) -> Result<Arc<Site>, String> {
    let sites = SITES.as_ref().map_err(ToString::to_string)?;
    sites.iter().find(|site| site.pack.site == name).cloned().ok_or_else(|| {
        format!("there are no recipes for the site {name:?}; there are some for {}", site_names().join(", "))
    })
}

/// The recipe for that job on that site.
pub fn find(site_name: &str, job: Job) -> Option<Arc<Recipe>> {
    site(site_name).ok()?.recipe(job)
}

/// The names of all built-in sites.
pub fn site_names() -> Vec<&'static str> {
    FILES.iter().map(|files| files.site).collect()
}

impl Site {
    /// A site from its files' texts.
    pub fn parse(pack_text: &str, recipes: &[&str]) -> Result<Self, Invalid> {
        let pack = Pack::parse(pack_text)?;
        let mut by_job = BTreeMap::new();
        let mut texts = vec![("pack".to_owned(), pack_text.to_owned())];
        for text in recipes {
            let recipe = Recipe::parse(text)?;
            check_pair(&pack, &recipe)?;
            texts.push((recipe.body.job.name().to_owned(), (*text).to_owned()));
            by_job.insert(recipe.body.job, Arc::new(recipe));
        }
        Ok(Self { pack, recipes: by_job, texts })
    }

    /// The YAML texts by name (`pack`, `publish`, …): what an agent is sent, and gives to [`Site::parse`].
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The id of the item that an address on the site shows, by the same patterns that recognise a published one.
    pub fn item_id(&self, url: &url::Url) -> Option<String> {
        let at = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let publish = self.recipe(Job::Publish)?;
        let proofs = publish.body.confirm.as_ref()?.proofs.iter();
        proofs
            .flat_map(|proof| [proof.when.url.as_deref(), proof.link.as_deref()])
            .flatten()
            .find_map(|pattern| capture(pattern, &at, "id").or_else(|| capture(pattern, url.as_str(), "id")))
    }

    /// The recipe for a job.
    pub fn recipe(&self, job: Job) -> Option<Arc<Recipe>> {
        self.recipes.get(&job).cloned()
    }
}

/// A recipe goes with its own site's pack.
fn check_pair(pack: &Pack, recipe: &Recipe) -> Result<(), Invalid> {
    let shape = |message: String| Err(Invalid::Shape { name: recipe.version.name.clone(), message });
    if recipe.body.site != pack.site {
        return shape(format!("the recipe is for {:?}, its pack for {:?}", recipe.body.site, pack.site));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_site_is_valid_and_has_every_job() {
        for name in site_names() {
            let site = site(name).unwrap_or_else(|error| panic!("{error}"));
            for job in Job::ALL {
                assert!(site.recipe(job).is_some(), "{name} has no recipe for {job}");
            }
        }
        let id = |name: &str, url: &str| {
            let url = url.parse().expect("an address");
            site(name).unwrap_or_else(|error| panic!("{error}")).item_id(&url)
        };
        assert_eq!(id("sandbox", "http://127.0.0.1/marketplace/item/K-7/?ref=x").as_deref(), Some("K-7"));
        assert_eq!(id("classified", "http://127.0.0.1/12-oak-chair/").as_deref(), Some("12"));
        assert_eq!(id("classified", "http://127.0.0.1/user/"), None);
        assert!(site("nowhere").expect_err("unknown").contains("classified"));
    }
}
