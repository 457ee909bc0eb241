//! What the composer offers: categories, conditions, groups to share with, places.

use serde::Serialize;

use crate::account::Labels;

/// A heading of the category menu with its leaves.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CategoryGroup {
    /// The heading.
    pub heading: &'static str,
    /// The leaves, in the order shown.
    pub leaves: &'static [Leaf],
}

/// A category that can be chosen.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Leaf {
    /// Its name, unique among all leaves.
    pub name: &'static str,
    /// Whether the menu adds "Delivery available" to the name.
    pub delivery: bool,
    /// Optional fields that this category adds to the form.
    pub attributes: &'static [&'static str],
}

/// A group that an account belongs to.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Group {
    /// Its name, unique.
    pub name: &'static str,
    /// Shown after the name; changes over time, so nothing may match on it.
    pub members: &'static str,
    /// "Public" or "Private".
    pub visibility: &'static str,
}

const fn leaf(name: &'static str, delivery: bool, attributes: &'static [&'static str]) -> Leaf {
    Leaf { name, delivery, attributes }
}

/// The category menu.
pub const CATEGORIES: &[CategoryGroup] = &[
    CategoryGroup {
        heading: "Home and garden",
        leaves: &[
            leaf("Tools", false, &["Brand"]),
            leaf("Furniture", false, &["Colour", "Material"]),
            leaf("Household", true, &["Colour"]),
            leaf("Garden", false, &[]),
            leaf("Appliances", false, &["Brand"]),
        ],
    },
    CategoryGroup {
        heading: "Entertainment",
        leaves: &[leaf("Video games", true, &["Platform"]), leaf("Books, films and music", true, &[])],
    },
    CategoryGroup {
        heading: "Clothing and accessories",
        leaves: &[
            leaf("Bags and luggage", true, &["Brand", "Colour"]),
            leaf("Women's clothing and shoes", true, &["Brand", "Size"]),
            leaf("Men's clothing and shoes", true, &["Brand", "Size"]),
            leaf("Jewellery and accessories", true, &["Material"]),
        ],
    },
    CategoryGroup {
        heading: "Family",
        leaves: &[
            leaf("Health and beauty", true, &[]),
            leaf("Pet supplies", true, &[]),
            leaf("Baby and children", true, &["Brand"]),
            leaf("Toys and games", true, &["Brand"]),
        ],
    },
    CategoryGroup {
        heading: "Electronics",
        leaves: &[
            leaf("Electronics and computers", true, &["Brand"]),
            leaf("Mobile phones", true, &["Brand", "Colour"]),
        ],
    },
    CategoryGroup {
        heading: "Hobbies",
        leaves: &[
            leaf("Bicycles", false, &["Brand", "Colour"]),
            leaf("Arts and crafts", true, &[]),
            leaf("Sports and outdoors", true, &["Brand"]),
            leaf("Car parts", false, &["Brand"]),
            leaf("Musical instruments", false, &["Brand"]),
            leaf("Antiques and collectibles", true, &[]),
        ],
    },
    CategoryGroup {
        heading: "Classifieds",
        leaves: &[leaf("Garage sale", false, &[]), leaf("Miscellaneous", true, &[])],
    },
];

/// The groups of every account.
pub const GROUPS: &[Group] = &[
    Group { name: "Neighbourhood swap and sell", members: "14.9K members", visibility: "Public" },
    Group { name: "Vintage finds", members: "3.2K members", visibility: "Public" },
    Group { name: "Parents of the north side", members: "871 members", visibility: "Private" },
    Group { name: "Cycling second-hand", members: "22K members", visibility: "Public" },
    Group { name: "Students' flat market", members: "5.4K members", visibility: "Private" },
];

/// Places for the typeahead. Namesakes abroad come first on purpose: the first suggestion is not always meant.
const PLACES: &[&str] = &[
    "Portland, Victoria, Australia",
    "Portland, Maine, United States",
    "Portland, Oregon, United States",
    "London, Ontario, Canada",
    "London, United Kingdom",
    "London Bridge, London, United Kingdom",
    "Berlin, Connecticut, United States",
    "Berlin, Germany",
    "Paris, Texas, United States",
    "Paris, France",
    "Madrid, Iowa, United States",
    "Madrid, Spain",
    "Manchester, New Hampshire, United States",
    "Manchester, United Kingdom",
    "Birmingham, Alabama, United States",
    "Birmingham, United Kingdom",
    "Bristol, United Kingdom",
    "Edinburgh, United Kingdom",
    "Lyon, France",
    "Lisbon, Portugal",
    "Malmö, Sweden",
    "Stockholm, Sweden",
    "Gothenburg, Sweden",
    "Amsterdam, Netherlands",
    "Seattle, Washington, United States",
    "San Francisco, California, United States",
    "Austin, Texas, United States",
    "New York, New York, United States",
    "Boston, Lincolnshire, United Kingdom",
    "Boston, Massachusetts, United States",
    "Zürich, Switzerland",
    "Vienna, Virginia, United States",
    "Vienna, Austria",
    "Auckland, New Zealand",
];

/// The conditions in the words of the page.
pub fn conditions(labels: Labels) -> [&'static str; 4] {
    match labels {
        Labels::Uk => ["New", "Used – like new", "Used – good", "Used – fair"],
        Labels::Us => ["New", "Used - Like New", "Used - Good", "Used - Fair"],
    }
}

/// The meet-up preferences in the words of the page.
pub fn meetups(labels: Labels) -> [&'static str; 3] {
    match labels {
        Labels::Uk => ["Public meet-up", "Door pick-up", "Door drop-off"],
        Labels::Us => ["Public meetup", "Door pickup", "Door dropoff"],
    }
}

/// Up to six places whose name contains the words typed, in the order of the directory.
///
/// A comma finds nothing, as on the real site, where "Portland, OR" suppresses the suggestions.
pub fn suggest(typed: &str) -> Vec<&'static str> {
    let typed = typed.trim().to_lowercase();
    if typed.is_empty() || typed.contains(',') {
        return Vec::new();
    }
    let starts = |place: &&&str| place.to_lowercase().starts_with(&typed);
    PLACES.iter().filter(starts).take(6).copied().collect()
}

/// Whether a listing may stand there.
pub fn is_place(name: &str) -> bool {
    PLACES.contains(&name)
}

/// Whether a category of that name can be chosen.
pub fn is_category(name: &str) -> bool {
    CATEGORIES.iter().flat_map(|group| group.leaves).any(|leaf| leaf.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;

    #[test]
    fn every_home_is_a_place() {
        for account in Account::sellers(8) {
            assert!(is_place(account.home), "{} is not in the directory", account.home);
        }
    }

    #[test]
    fn first_suggestion_may_be_abroad_and_a_comma_finds_nothing() {
        assert_eq!(suggest("portl").first().copied(), Some("Portland, Victoria, Australia"));
        assert!(suggest("portl").contains(&"Portland, Oregon, United States"));
        assert!(suggest("Portland, OR").is_empty());
    }
}
