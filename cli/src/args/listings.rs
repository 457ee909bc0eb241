//! `tradepost listings …` and `tradepost photos …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::Limit;

#[derive(Debug, Subcommand)]
pub(crate) enum ListingsCommand {
    /// Create listings from options or from a file
    #[command(long_about = CREATE_ABOUT)]
    Create(CreateListing),
    /// List listings, newest first
    #[command(visible_alias = "ls")]
    List(Limit),
    /// Show a listing
    Show {
        /// Id, or its unique beginning
        listing: String,
    },
    /// Change a listing: what is given replaces what was there
    Edit(EditListing),
    /// Delete listings
    #[command(visible_alias = "rm")]
    Delete {
        /// Ids, or their unique beginnings
        #[arg(required = true, value_name = "LISTING")]
        listings: Vec<String>,
    },
}

const CREATE_ABOUT: &str = "\
Create listings from options or from a file.

Everything is checked first: all problems are named at once, with file and line, and nothing is created before \
they are mended.

A file (--file) is YAML or JSON and holds one listing or a list of them:

  title: Desk lamp, brass            # needed: up to 150 characters
  description: |                     # up to 5,000 characters
    Works well.
    A few scratches on the foot.
  price: 25.50 EUR                   # needed; a point, no currency sign
  currency: EUR                      # ISO 4217 code, if it is not part of the price
  category: Home > Lighting          # needed: from general to special
  condition: good                    # needed: new, like_new, good or fair
  location: Berlin                   # needed: where the thing is
  sku: L-17                          # your own number for it
  attributes:                        # what some categories ask for, at most 30
    brand: Kaiser
  photos:                            # JPEG, PNG, WebP; the first is the cover
    - lamp-1.jpg                     # relative to this file
    - lamp-2.jpg

`photos: lamp/` takes all photos of a folder, in natural order (1, 2, 10). A listing has up to 20 photos of up to \
20 MiB each.";

#[derive(Debug, Args)]
pub(crate) struct CreateListing {
    /// YAML or JSON file with one listing or a list of them (`-` is standard input)
    #[arg(short, long, value_hint = ValueHint::FilePath, conflicts_with_all = ["title", "description", "price", "currency", "category", "condition", "location", "sku", "attribute"])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) fields: ListingFields,
}

#[derive(Debug, Args)]
pub(crate) struct EditListing {
    /// Id, or its unique beginning
    pub(crate) listing: String,
    #[command(flatten)]
    pub(crate) fields: ListingFields,
}

/// The fields of a listing as options.
#[derive(Debug, Default, Args)]
pub(crate) struct ListingFields {
    /// Headline, 1 to 150 characters
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Free text
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Price, e.g. "25.50 EUR"
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) price: Option<String>,
    /// Currency code, if it is not part of the price
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<String>,
    /// Path from general to special, e.g. "Home > Lighting"
    #[arg(long)]
    pub(crate) category: Option<String>,
    /// new, like_new, good or fair
    #[arg(long)]
    pub(crate) condition: Option<String>,
    /// Where the thing is, e.g. Berlin
    #[arg(long)]
    pub(crate) location: Option<String>,
    /// Your own number for it
    #[arg(long)]
    pub(crate) sku: Option<String>,
    /// What the category asks for; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) attribute: Vec<String>,
    /// A photo, or a folder of photos in natural order (1, 2, 10); may be repeated
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, visible_alias = "photo", num_args = 1..)]
    pub(crate) photos: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PhotosCommand {
    /// Upload photos and print their ids
    Upload {
        /// JPEG, PNG or WebP files, or folders of them
        #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
        paths: Vec<PathBuf>,
    },
    /// Show one photo as it is stored: size, pixels, SHA-256
    Show {
        /// Its id, as listings show it
        photo: String,
    },
}
