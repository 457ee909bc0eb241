//! The sellers that exist, known to everybody: this is a place to practise.

use serde::Serialize;

/// A seller with a public password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Login name.
    pub email: String,
    /// The password, public on purpose.
    #[serde(skip)]
    pub password: String,
    /// Name shown on pages.
    pub name: String,
    /// ISO 4217 code of every price of this account.
    pub currency: &'static str,
    /// The place that the composer fills in.
    pub home: &'static str,
    /// Which words the pages use.
    pub labels: Labels,
}

/// The wording of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// British English: "Used – good", "Door pick-up".
    Uk,
    /// American English: "Used - Good", "Door pickup".
    Us,
}

const PEOPLE: &[(&str, &str, &str, Labels)] = &[
    ("Maya Thompson", "GBP", "London, United Kingdom", Labels::Uk),
    ("Jordan Reyes", "USD", "Portland, Oregon, United States", Labels::Us),
    ("Elsa Lindqvist", "SEK", "Malmö, Sweden", Labels::Uk),
    ("Tomás Herrera", "EUR", "Madrid, Spain", Labels::Uk),
];

// === impl Account ===

impl Account {
    /// `seller1@example.com` with the password `correct horse 1`, and so on.
    pub fn sellers(count: u32) -> Vec<Self> {
        (1..=count)
            .zip(PEOPLE.iter().cycle())
            .map(|(number, &(name, currency, home, labels))| Self {
                email: format!("seller{number}@example.com"),
                password: format!("correct horse {number}"),
                name: if number as usize <= PEOPLE.len() {
                    name.to_owned()
                } else {
                    format!("{name} {number}")
                },
                currency,
                home,
                labels,
            })
            .collect()
    }
}
